"""Parts of the SDKs that are imported when they are used: nobody can tell from what a command does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.lab import HOME
from tests.functional.wire_lab import WireLab
from tests.sample import sample

PROFILES: dict[str, dict[str, str]] = {
    "AK": {"access_key_id": "key", "access_key_secret": "secret"},
    "StsToken": {"access_key_id": "key", "access_key_secret": "secret", "sts_token": "token"},
    "External": {"process_command": f"""{sys.executable} -c 'print("{{")'"""},
    "EcsRamRole": {"ram_role_name": "its-role"},
    "RamRoleArn": {"access_key_id": "key", "access_key_secret": "secret", "ram_role_arn": "acs:ram::1:role/r"},
    "OIDC": {"ram_role_arn": "acs:ram::1:role/r", "oidc_provider_arn": "acs:ram::1:oidc-provider/p"},
    "OAuth": {"oauth_access_token": "token", "oauth_refresh_token": "again"},
}
PROGRAM = """
import sys
from link_peer_cli.access import keys, late_parts
if sys.argv[1] == "whole":
    late_parts.install = lambda: None
late_parts.install()
if sys.argv[2:]:
    from link_peer_cli.main import main
    main(sys.argv[2:])
for name in (*{names}, ""):
    try:
        print(name, keys.own_keys({{}}, name)())
    except Exception as error:
        print(name, error)
"""


def printed(parts: str, *args: str, **env: str) -> tuple[int, str]:
    """What a program prints in a process of its own, with all parts of the SDKs from the start (`whole`) or when used
    (`late`)."""
    program = [sys.executable, "-c", PROGRAM.format(names=tuple(PROFILES)), parts, *args]
    result = subprocess.run(program, env={**os.environ, **env}, capture_output=True, text=True, check=False)  # noqa: S603
    return result.returncode, re.sub(
        r"0x[0-9a-f]+|/\?\S+|\d+ minutes ago|\d{4}-\d\d-\d\dT[\d:.]+|1(-[0-9a-f]{8,})+",
        "",
        result.stdout + result.stderr,
    )


def test_keys_are_found_with_parts_of_the_sdks_that_are_imported_late(tmp_path: Path) -> None:
    """Of each kind of profile, and of the default chain: the same keys, or the same error, on a network that refuses
    all calls."""
    profiles = [{"name": mode, "mode": mode, **fields} for mode, fields in PROFILES.items()]
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun/config.json").write_text(json.dumps({"current": "EcsRamRole", "profiles": profiles}))
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1") | {"HOME": str(tmp_path)}
    whole, late = (printed(parts, **nowhere) for parts in ("whole", "late"))
    assert late == whole
    assert late[1].count(" Credentials(") == 2
    assert len(late[1].splitlines()) == len(profiles) + 1  # the SDK would print a stack trace for each try, too


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "command",
    sample(["doctor -o csv", "audit --all -o csv", "links --json", "failed", "setup --dry-run", "account list"], 2),
)
def test_commands_print_the_same_with_parts_of_the_sdks_that_are_imported_late(wire_lab: WireLab, command: str) -> None:
    """Whatever services they ask."""
    wire_lab.linked()
    keys = wire_lab.cloud.identity.accounts[HOME]
    env = {"ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret}
    env |= {"LINK_PEER_POLICY": str(wire_lab.policy_path), "ALIBABA_CLOUD_SECURITY_TOKEN": ""}
    assert printed("late", *command.split(), **env) == printed("whole", *command.split(), **env)
