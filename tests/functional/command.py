"""How a test runs a command: in this process, with its exit code and output; and what a person has and did before."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from alibabacloud_credentials.utils import auth_constant
from aliyun_local.api import Caller, Group, Instance, LocalCloud
from jsonschema import Draft202012Validator
from link_peer.app import compose
from link_peer_cli.main import main

from tests.functional.lab import HOME, PEER, REGION, Lab

STEP = 1 / 1024
"""How many seconds pass between two readings of a command's clock: sums of them are exact."""

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/answers.schema.json").read_text("utf-8"))

# Typer composes all commands anew for each run: most of the time of one that ends soon. They have no state.
typer.main.get_command = functools.cache(typer.main.get_command)


@functools.cache
def answer_schema(name: str) -> Draft202012Validator:
    """Of an answer: its fields, and no others, so that each is in the schema and on the page."""
    closed = {"additionalProperties": False}
    types = {
        name: {**schema, **closed} if "properties" in schema else schema for name, schema in SCHEMA["$defs"].items()
    }
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": types})


def check_answers(args: tuple[str, ...], printed: str) -> None:
    """What a command printed with `--json` is what docs/schemas/answers.schema.json says."""
    names = ["-".join(args[at : at + length]) for length in (2, 1) for at in range(len(args))]
    schema = answer_schema(next(name for name in names if name in SCHEMA["$defs"]))
    for line in printed.splitlines():
        assert [error.message for error in schema.iter_errors(json.loads(line))] == [], (args, line)


CallerActions = list[tuple[Caller, str]]
"""Who asked for which action: the fixture `accesses`."""
Typed = Callable[[str], None]
"""What a person types at the next questions: the fixture `typed`."""
Written = Callable[[object], str]
"""Writes a value into a file as JSON, and gives its path: the fixture `written`."""


class MovingClock:
    """A clock that is later at every reading, so that it shows where a command decides by two readings."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def now(self) -> float:
        self._clock.advance(STEP)
        return float(self._clock.now())

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


class Cli:
    """`cli("plan", "i-…")` runs `link-peer plan i-…`; `out` and `err` then hold its output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *args: str) -> int:
        """Run a command and return its exit code."""
        clock = compose.clock_for_functions()
        with pytest.MonkeyPatch.context() as patch:
            if hasattr(clock, "advance"):  # the machine's moves by itself
                patch.setattr(compose, "clock_for_functions", lambda: MovingClock(clock))
            with pytest.raises(SystemExit) as ended:
                main(list(args))
        self.out, self.err = self._capsys.readouterr()
        if "--json" in args and self.out:
            check_answers(args, self.out)
        code = ended.value.code
        return code if isinstance(code, int) else int(bool(code))

    def json(self, *args: str) -> tuple[int, list[Any]]:
        """Run a command with `--json`; return its exit code and each line of output, parsed."""
        code = self(*args, "--json")
        return code, [json.loads(line) for line in self.out.splitlines()]


# who pastes commands


class Owners:
    """People who paste commands, each with keys of the account that the command is about."""

    def __init__(self, lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab = lab
        self.cli = cli
        self._monkeypatch = monkeypatch

    def paste(self, text: str, account: str = HOME) -> list[int]:
        """Runs the commands of a line, one after the other, those of `aliyun` in an account; returns their exit
        codes."""
        return [self._run(shlex.split(command), account) for command in text.split("; ") if command]

    def _run(self, words: list[str], account: str) -> int:
        with self._monkeypatch.context() as patch:
            while "=" in words[0]:
                patch.setenv(*words.pop(0).split("=", 1))
            if words[:2] == ["aliyun", "ecs"]:
                pairs = zip(words[3::2], words[4::2], strict=True)
                self.lab.call(account, words[2], {name.removeprefix("--"): value for name, value in pairs})
                return 0
            assert words[0] == "link-peer"
            if words[1] == "accept":
                use_keys(self.lab.cloud, patch, words[2].partition("@")[2])
            return self.cli(*words[1:])


# what a person has


def use_keys(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, account: str) -> None:
    """The person's keys are those of this account."""
    keys = cloud.identity.accounts[account]
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", keys.access_key_secret)


def write_profiles(lab: Lab, monkeypatch: pytest.MonkeyPatch, home: Path, accounts: dict[str, str]) -> None:
    """Makes `home` the person's folder, with a profile of these names for each account's uid; the first is the
    current."""
    folder = home / ".aliyun"
    folder.mkdir()
    profiles = []
    for name, uid in accounts.items():
        keys = lab.cloud.identity.accounts[uid]
        key_fields = {"access_key_id": keys.access_key_id, "access_key_secret": keys.access_key_secret}
        profiles.append({"name": name, "mode": "AK", "region_id": REGION, **key_fields})
    (folder / "config.json").write_text(json.dumps({"current": next(iter(accounts)), "profiles": profiles}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(auth_constant, "HOME", str(home))


# who may be linked


def orders_and_ledger(lab: Lab, *accepts: str) -> tuple[Group, Group, Instance, Instance]:
    """The groups app and ledger, the second of which accepts these; orders-1 in the first, and ledger-1 in the
    second."""
    app, ledger = lab.group(name="app"), lab.group(*accepts, name="ledger")
    return app, ledger, lab.instance(app, name="orders-1"), lab.instance(ledger, name="ledger-1")


def linked_by_request(lab: Lab, *ports: str) -> tuple[Group, Group, Instance, Instance]:
    """The same, linked by a request: on TCP 3306, or these ports."""
    app, ledger, a, b = orders_and_ledger(lab, "*")
    lab.cross_account(lab.request(app, ledger, *(ports or ("tcp/3306",))))
    return app, ledger, a, b


class Linked:
    """Links by tag and by request between home and the second account, both ways, and one that home has with itself."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.app, self.db = lab.pair()
        lab.instance(self.app, tags={"link-peer": f"{self.db.id}@{PEER}"})
        self.peer_target, self.cache = lab.group(f"*@{PEER}"), lab.group("*")
        caller = lab.group(account=PEER)
        lab.instance(caller)
        lab.instance(lab.group(), tags={"link-peer": f"{self.cache.id}:tcp/6379"})
        lab.cross_account(lab.request(caller, self.peer_target, "tcp/443"))
        lab.sweep()
        lab.drain()
        self.groups = (self.app, self.db, self.peer_target, self.cache)
        assert self.counts() == [1, 1, 1, 1]

    def counts(self) -> list[int]:
        """How many rules each group has: of the mutual link app and db, then other, which is asked for, and cache."""
        return [len(self.lab.rules(group)) for group in self.groups]


# rules that a person made


ALL = {"IpProtocol": "ALL", "PortRange": "-1/-1"}
"""Every port, of any protocol."""


def person(lab: Lab, target: Group, source: Group | None = None, **fields: str) -> str:
    """A rule that a person makes, on TCP 3306 unless said otherwise; returns its id."""
    permission = {"IpProtocol": "TCP", "PortRange": "3306/3306", "Policy": "accept", "NicType": "intranet"}
    permission |= {"Priority": "1", "Description": "orders", **fields}
    if source is not None:
        permission["SourceGroupId"] = source.id
        if source.account != target.account:
            permission["SourceGroupOwnerId"] = source.account
    return lab.authorize(target, **{name: value for name, value in permission.items() if value})


def between(lab: Lab, source: Instance, target: Instance, group: Group, **fields: str) -> str:
    """The same on a group of the target, from one instance's address to another's."""
    return person(lab, group, SourceCidrIp=f"{source.private_ip}/32", DestCidrIp=f"{target.private_ip}/32", **fields)


def egress(lab: Lab, group: Group, **permission: str) -> None:
    """Adds an egress rule as a person."""
    params = {f"Permissions.1.{name}": value for name, value in permission.items()}
    lab.call(group.account, "AuthorizeSecurityGroupEgress", {"SecurityGroupId": group.id, **params})


def by_hand(lab: Lab) -> tuple[Group, Group, str]:
    """Two groups, and a rule by which a person lets the first into the second on TCP 3306."""
    app, db = lab.group(), lab.group()
    return app, db, person(lab, db, app)


def ids(lab: Lab, group: Group) -> list[str]:
    """The ids of the rules of a group."""
    return [rule["SecurityGroupRuleId"] for rule in lab.raw_rules(group)]


class TurnClock:
    """A command's clock. Each time the command sleeps, the next turn runs; after the last one comes Ctrl-C."""

    def __init__(self, lab: Lab, turns: list[Callable[[], object]]) -> None:
        self._lab = lab
        self._turns = turns
        self._in_turn = False  # what sleeps then is a function
        self.slept: list[float] = []

    def now(self) -> float:
        return self._lab.cloud.clock.now()

    def advance(self, seconds: float) -> None:
        self._lab.cloud.clock.advance(seconds)

    def sleep(self, seconds: float) -> None:
        if self._in_turn:
            return self._lab.cloud.clock.sleep(seconds)
        self.slept.append(seconds)
        if not self._turns:
            raise KeyboardInterrupt
        self._in_turn = True
        self._turns.pop(0)()
        self._in_turn = False
        return None


def take_turns(lab: Lab, monkeypatch: pytest.MonkeyPatch, turns: list[Callable[[], object]]) -> list[float]:
    """Run these turns while a command sleeps; return the list that will hold how long it slept each time."""
    clock = TurnClock(lab, turns)
    monkeypatch.setattr(compose, "clock_for_functions", lambda: clock)
    return clock.slept
