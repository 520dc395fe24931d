"""An inventory answers early, from the groups that carry link-peer's tag, and ends whole, once all groups were read."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aliyun_local.api import Caller, Group
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read import fetch
from link_peer.planning.decision import Plan
from link_peer.planning.sweep import next_sweep
from link_peer_cli.inventory import reading

from tests.functional.command import Cli, Linked, person
from tests.functional.lab import Lab

pytestmark = pytest.mark.knobs(request_tags=True, rule_count="both")
"""The functions may write the managed tag, and RuleCount counts all rules."""

READ = "DescribeSecurityGroupAttribute"
INVENTORIES = {
    "links": ["links"],
    "doctor": ["doctor"],
    "plan": ["plan", "--policy", "{policy}"],
    "sweep": ["sweep", "--dry-run"],
    "map": ["map", "--out", "map.json"],
}


class Estate:
    """Links of groups with the managed tag; a `stray` group that lost it, with a rule of link-peer; groups of people:
    `used`, of which one has a rule, and `idle` ones, whose listing shows none."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.links = Linked(lab)
        self.stray, self.used, self.idle = lab.group("*"), lab.group(), lab.group()
        lab.cross_account(lab.request(self.links.app, self.stray, "tcp/7000", request_id="chg-7000"))
        for key in [key for key in lab.tags(self.stray) if key.startswith("link-managed")]:
            params = {"ResourceType": "securitygroup", "ResourceId.1": self.stray.id, "TagKey.1": key}
            lab.call(self.stray.account, "UntagResources", params)
        person(lab, self.used, self.links.app)
        assert len(lab.rules(self.stray)) == 1

    @property
    def tagged(self) -> set[str]:
        """The groups with the managed tag."""
        return {group.id for group in self.links.groups}

    def reads(self) -> list[str]:
        """The groups whose rules were read since the last call, in order."""
        calls = self.lab.cloud.faults.calls
        groups = [call.params["SecurityGroupId"] for call in calls if call.action == READ]
        calls.clear()
        return list(dict.fromkeys(groups))


@pytest.fixture(name="estate")
def _estate(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    monkeypatch.chdir(tmp_path)
    return Estate(lab)


def arguments(lab: Lab, name: str, *options: str) -> list[str]:
    return [word.format(policy=lab.policy_path) for word in INVENTORIES[name]] + list(options)


@contextlib.contextmanager
def at_read_of(lab: Lab, group: Group, happens: Callable[[], None]) -> Iterator[None]:
    """Right before the rules of a group are read, this happens."""
    carry_out = lab.cloud.ecs.call

    def call(caller: Caller, action: str, params: Any, *args: Any, **options: Any) -> Any:
        if action == READ and params.get("SecurityGroupId") == group.id:
            happens()
        return carry_out(caller, action, params, *args, **options)

    lab.cloud.ecs.call = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        lab.cloud.ecs.call = carry_out  # type: ignore[method-assign]


@pytest.mark.parametrize("name", INVENTORIES)
def test_groups_with_the_tag_are_read_first_and_those_that_show_no_rules_last(
    estate: Estate, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each is read, whatever its listing shows: nothing promises that RuleCount is of this moment."""
    monkeypatch.setattr(fetch, "CHUNK", 1)  # groups that are read together are in no order
    estate.reads()
    assert cli(*arguments(estate.lab, name)) in (0, 1)
    read = estate.reads()
    assert set(read) >= {*estate.tagged, estate.stray.id, estate.used.id, estate.idle.id}
    if name in ("links", "map"):  # of the others, a sweep reads a share beside the first
        assert set(read[: len(estate.tagged)]) == estate.tagged
    last = [group for group in read if group in {estate.stray.id, estate.used.id, estate.idle.id}]
    assert last[-1] == estate.idle.id


def test_what_was_read_is_planned_once(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the links are looked at twice: for a party that is shown no more, and for what reaches it."""
    a, b = lab.instance(lab.group()), lab.instance(lab.group("*"))
    lab.cross_account(lab.request(a, b, "tcp/1"))
    lab.release(b)
    planned_snapshots: list[Snapshot] = []

    def plan(snapshot: Snapshot, *place: Any) -> Plan:
        planned_snapshots.append(snapshot)
        return next_sweep(snapshot, *place)

    monkeypatch.setattr(reading, "next_sweep", plan)
    assert [source["from"] for source in cli.json("who", b.id)[1]] == [a.id]
    assert len(planned_snapshots) == len(set(map(id, planned_snapshots))) > 0


@pytest.fixture(name="late_listing")
def _late_listing(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Estate:
    """The estate, whose listing does not count the rule of the stray group yet."""
    carry_out = estate.lab.cloud.ecs.call

    def call(caller: Caller, action: str, *args: Any, **options: Any) -> Any:
        answer = carry_out(caller, action, *args, **options)
        if action == "DescribeSecurityGroups":
            for group in answer["SecurityGroups"]["SecurityGroup"]:
                group["RuleCount"] = 0 if group["SecurityGroupId"] == estate.stray.id else group.get("RuleCount", 0)
        return answer

    monkeypatch.setattr(estate.lab.cloud.ecs, "call", call)
    return estate


def test_a_rule_on_a_group_that_lost_the_tag_and_shows_none_is_listed(late_listing: Estate, cli: Cli) -> None:
    """Its link is there whole."""
    listed = {link["to"]: link["state"] for link in cli.json("links")[1]}
    assert listed[late_listing.stray.id] == "open"


def test_a_rule_on_a_group_that_lost_the_tag_and_shows_none_is_closed(late_listing: Estate, cli: Cli) -> None:
    """No count of a listing is taken for a closed group."""
    assert cli("close", "--all", "--yes") == 0, cli.err
    assert late_listing.lab.rules(late_listing.stray) == []


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("name", ["links", "doctor", "plan", "sweep"])
def test_on_a_terminal_rows_are_there_before_other_groups_are_read(
    estate: Estate, cli: Cli, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """What the others add comes below them, and nothing twice."""
    lab, printed = estate.lab, list[str]()
    people_groups = [lab.group() for _ in range(3)]
    with at_read_of(lab, people_groups[-1], lambda: printed.append(capsys.readouterr().out)):
        assert cli(*arguments(lab, name)) in (0, 1)
    early, late = "".join(printed), cli.out
    marks = {
        "links": (estate.links.cache.id, estate.stray.id),
        "doctor": ("platform\n", "\ntenants\n"),
        "plan": ("The same links could open as under", ""),
        "sweep": (r"Nothing would change\.|Rules: none", ""),
    }
    first, added = marks[name]
    assert [bool(re.search(first, text)) for text in (early, late)] == [True, False]
    if name == "links":
        assert [line for line in early.splitlines() if line.startswith("from")] != []
        assert [line for line in late.splitlines() if line.startswith("from")] == []
        assert (added in early, added in late) == (False, True)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("name", INVENTORIES)
def test_ctrl_c_keeps_what_is_printed_and_says_how_many_groups_were_not_read(
    estate: Estate, cli: Cli, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The file of a map is written once, whole: one that was there stays."""
    lab, printed = estate.lab, list[str]()
    people_groups = [lab.group() for _ in range(3)]
    Path("map.json").write_text("before", encoding="utf-8")

    def stop() -> None:
        printed.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    with at_read_of(lab, people_groups[-1], stop):
        assert cli(*arguments(lab, name)) == 130
    assert "stopped by Ctrl-C: nothing was changed; the rules of " in cli.err
    assert " groups were not read" in cli.err
    assert cli.out == ""
    assert bool(printed[0]) == (name != "map")
    assert Path("map.json").read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize("name", INVENTORIES)
def test_ctrl_c_leaves_no_half_document(estate: Estate, cli: Cli, name: str) -> None:
    """JSON is printed whole, or not at all."""

    def stop() -> None:
        raise KeyboardInterrupt

    people_groups = [estate.lab.group() for _ in range(3)]
    with at_read_of(estate.lab, people_groups[-1], stop):
        assert cli(*arguments(estate.lab, name), *(["--json"] if name != "map" else [])) == 130
    assert cli.out == ""
    assert " groups were not read" in cli.err


@pytest.mark.parametrize("name", INVENTORIES)
def test_tagged_stops_at_the_groups_with_the_tag_and_says_so(estate: Estate, cli: Cli, name: str) -> None:
    """What decides about their links is read, and no other group; the exit code is that of what was read."""
    people_groups = [estate.lab.group() for _ in range(3)]
    code = cli(*arguments(estate.lab, name))
    estate.reads()
    assert cli(*arguments(estate.lab, name, "--tagged")) == code
    assert people_groups[-1].id not in estate.reads()
    assert " groups were not read" in cli.err
    if name == "map":
        assert " groups were not read" in json.loads(Path("map.json").read_text("utf-8"))["problems"][-1]


def test_tagged_shows_no_link_of_other_groups(estate: Estate, cli: Cli) -> None:
    """And all of those with the tag."""
    whole = {link["to"] for link in cli.json("links")[1]}
    assert {link["to"] for link in cli.json("links", "--tagged")[1]} == whole - {estate.stray.id}
    assert cli("links", "--tagged", "--at", "1h") == cli("sweep", "--tagged") == 2
    assert cli("plan", "i-web", "--tagged") == cli("plan", "--policy", "p", "--against", "p", "--tagged") == 2


def test_a_policy_that_closes_a_rule_on_a_group_that_lost_the_tag_says_so(
    estate: Estate, cli: Cli, tmp_path: Path
) -> None:
    """Whether the sweep looks at that group in its turn or not."""
    policy = tmp_path / "new.yaml"
    policy.write_text(estate.lab.policy_path.read_text("utf-8") + "deny: {ports: [tcp/7000]}\n", encoding="utf-8")
    for _ in range(40):  # more than the share that a sweep looks at
        person(estate.lab, estate.lab.group(), estate.links.app)
    _, [answer] = cli.json("plan", "--policy", str(policy))
    assert estate.stray.id in {group["group"] for group in answer["groups"]}
