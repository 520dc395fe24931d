"""Programs that a page names and that a test cannot run as they are: `python stand_ins.py PROGRAM ARGUMENT …`.

`aliyun` calls the local cloud, for ECS and RAM; of ROS and OOS it reads the template. `s`, `npm` and `make` refuse what
the project does not have. `link-peer` is our own, with an end for the commands that have none; `package` only checks
the policy, since test-package and test-deploy build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "tests/infrastructure/deploy"
PROGRAMS = ("aliyun", "s", "npm", "make", "link-peer")
LIMIT_SECONDS = 600


def aliyun(words: Sequence[str]) -> None:
    """`aliyun ecs|ram ACTION --Name value …` on the local cloud; an action that it does not offer exists at least."""
    if words == ["configure"]:
        return
    service, action, *arguments = words
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert all(name.startswith("--") for name in options), arguments
    params = {name.removeprefix("--"): value for name, value in options.items()}
    if (service, action) == ("ros", "CreateStackInstances"):
        assert json.loads(params["DeploymentTargets"]).keys() <= {"AccountIds", "RdFolderIds"}
    elif service == "ros":
        parameters = yaml.safe_load(params["TemplateBody"])["Parameters"]
        assert {value for name, value in params.items() if name.endswith("ParameterKey")} <= set(parameters)
    elif (service, action) == ("oos", "CreateTemplate"):
        assert yaml.safe_load(params["Content"])["FormatVersion"].startswith("OOS-")
    else:
        _call(service, action, params)


def _call(service: str, action: str, params: dict[str, str]) -> None:
    from aliyun_conformance.errors import SelftestError  # slow to import, and few programs call a service
    from aliyun_conformance.sdks import Sdks, Settings, SystemClock, personal_credentials

    fields = {name.replace(".", "_"): value for name, value in params.items()}
    try:
        settings = Settings(os.environ["LINK_PEER_REGION"], personal_credentials(), os.environ["LINK_PEER_CLOUD"])
        print(json.dumps(Sdks(settings, SystemClock()).raw(service, action, **fields)))
    except SelftestError as error:
        if "NotOfferedByLocalCloud" not in str(error):
            raise


def s(words: Sequence[str]) -> None:
    """Of Serverless Devs, the commands that tests/infrastructure/deploy runs with the real one."""
    shape = re.sub(r"\d+", "N", " ".join(words))
    if shape == "config add --access default":
        return
    tried = re.findall(r"""\.(?:calls_of|run)\((["'])(.*?)\1""", (DEPLOY / "test_cli.py").read_text("utf-8"))
    assert shape in {re.sub(r"\d+", "N", line) for _, line in tried}, shape
    if shape == "deploy -y":
        if "DEPLOYED_POLICY" in os.environ:  # the one that the functions of the local cloud read
            shutil.copyfile("policy.yaml", os.environ["DEPLOYED_POLICY"])
        from link_peer_cli.access.environment import load_environment  # here: the other programs need none of it
        from link_peer_cli.deployed.port import fc3

        env = load_environment(reading=False)
        event = (ROOT / "events/timer.json").read_bytes()
        # what the timer does within ten minutes
        client, models = fc3(env.settings, env.policy.home)
        client.invoke_function(env.names.functions["sweep"], models.InvokeFunctionRequest(body=event, qualifier="live"))


def npm(words: Sequence[str]) -> None:
    """The Serverless Devs of the tests, in the same version."""
    pinned = json.loads((DEPLOY / "package.json").read_text("utf-8"))["dependencies"]
    name = "@serverless-devs/s"
    assert words == ["install", "--global", f"{name}@{pinned[name]}"], words


def make(words: Sequence[str]) -> None:
    """A target of the Makefile, which a page also calls from beside the clone."""
    words = words[2:] if list(words[:2]) == ["-C", "link-peer"] else words
    subprocess.run(["/usr/bin/env", "-i", f"PATH={os.defpath}", "make", "-n", *words], cwd=ROOT, check=True)  # noqa: S603


def link_peer(words: Sequence[str]) -> None:
    """The command; `local` and `--follow` until they have printed something, and then Ctrl-C."""
    if words[0] == "package":
        words = ["check"]
    command = [sys.executable, "-m", "link_peer_cli", *words]
    if "--wait" in words:
        command += ["--timeout", str(LIMIT_SECONDS)]
    if list(words[:2]) == ["account", "remove"] and "--dry-run" not in words:
        command.append("--yes")  # what a person answers
    if words[0] != "local" and "--follow" not in words:
        raise SystemExit(subprocess.run(command, check=False, timeout=LIMIT_SECONDS).returncode)  # noqa: S603
    if "--port" in words:
        command[command.index("--port") + 1] = "0"  # that of the page may be in use
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        code = process.wait(LIMIT_SECONDS)
    assert (bool(line), code) == (True, 0)


if __name__ == "__main__":
    {"aliyun": aliyun, "s": s, "npm": npm, "make": make, "link-peer": link_peer}[sys.argv[1]](sys.argv[2:])
