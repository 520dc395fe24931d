"""How a test runs a command: in this process, with its exit code and output; and what a person has and did before."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import typer.main
from alibabacloud_credentials.utils import auth_constant
from link_peer_cli.main import main
from link_peer_local.ecs.state import Group

from tests.functional.lab import REGION, Lab

# Typer composes all commands anew for each run: most of the time of one that ends soon. They have no state.
typer.main.get_command = functools.cache(typer.main.get_command)


class Cli:
    """`cli("plan", "i-…")` runs `link-peer plan i-…`; `out` and `err` then hold its output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *args: str) -> int:
        """Run a command and return its exit code."""
        with pytest.raises(SystemExit) as ended:
            main(list(args))
        self.out, self.err = self._capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else int(bool(code))

    def json(self, *args: str) -> tuple[int, list[Any]]:
        """Run a command with `--json`; return its exit code and each line of output, parsed."""
        code = self(*args, "--json")
        return code, [json.loads(line) for line in self.out.splitlines()]


# what a person has


def write_profiles(lab: Lab, monkeypatch: pytest.MonkeyPatch, home: Path, accounts: dict[str, str]) -> None:
    """Makes `home` the person's folder, with a profile of these names for each account's uid; the first is the current."""
    folder = home / ".aliyun"
    folder.mkdir()
    profiles = []
    for name, uid in accounts.items():
        keys = lab.cloud.identity.accounts[uid]
        given = {"access_key_id": keys.access_key_id, "access_key_secret": keys.access_key_secret}
        profiles.append({"name": name, "mode": "AK", "region_id": REGION, **given})
    (folder / "config.json").write_text(json.dumps({"current": next(iter(accounts)), "profiles": profiles}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(auth_constant, "HOME", str(home))


# rules that a person made


ALL = {"IpProtocol": "ALL", "PortRange": "-1/-1"}
"""Every port, of any protocol."""


def person(lab: Lab, target: Group, source: Group | None = None, **fields: str) -> str:
    """A rule that a person makes, on TCP 3306 unless said otherwise; returns its id."""
    given = {"IpProtocol": "TCP", "PortRange": "3306/3306", "Policy": "accept", "NicType": "intranet"}
    given |= {"Priority": "1", "Description": "orders", **fields}
    if source is not None:
        given["SourceGroupId"] = source.id
        if source.account != target.account:
            given["SourceGroupOwnerId"] = source.account
    return lab.authorize(target, **{name: value for name, value in given.items() if value})


def ids(lab: Lab, group: Group) -> list[str]:
    """The ids of the rules of a group."""
    return [rule["SecurityGroupRuleId"] for rule in lab.raw_rules(group)]
