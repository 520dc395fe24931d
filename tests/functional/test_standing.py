"""A link that stands because a tag asks for it: looked at again by an event of its instance, by a sync of its pair or
by a sweep, it ends the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aliyun_local.api import Instance

from tests.functional.lab import HOME, MANAGED, PEER, Lab


class Standing:
    """An instance of `app` asks for links to `db`, which stand: one of each of these ports, or a mutual one without. An
    event has the instance's own account looked at; a sync and a sweep, the other one too, where `db` is."""

    def __init__(self, lab: Lab, trigger: str, links: tuple[str, ...]) -> None:
        self.lab, self.trigger = lab, trigger
        account = HOME if trigger == "event" else PEER
        self.app, self.db = lab.group(f"*@{account}"), lab.group(f"*@{HOME}", account=account)
        self.instance = lab.instance(self.app)
        for group in (self.app, self.db):
            lab.instance(group, tags={"team": "ledger"})
        self.wish(self.instance, *links)
        self.again()
        assert self.lab.rules(self.db) == [f"{self.app.id} {link}" for link in links or ("all",)]

    def wish(self, instance: Instance, *links: str) -> None:
        peer = f"{self.db.id}@{self.db.account}"
        self.lab.tag(instance, link_peer=" ".join(f"{peer}:{link}" for link in links) or peer)

    def again(self) -> dict[str, int]:
        """The outcomes of another look, which the instance's tag or end would cause."""
        if self.trigger == "sync":
            return self.lab.cross_account(self.lab.request(self.app, self.db, action="sync"))
        if self.trigger == "sweep":
            return self.lab.sweep()
        if self.instance.id in self.lab.cloud.ecs.account(HOME).instances:
            return self.lab.auto_link(self.lab.tag_event(self.instance))
        return self.lab.auto_link(self.lab.event(self.instance, "Deleted"))

    def rules(self) -> list[str]:
        """The ports that `db` admits `app` on."""
        return [rule.split()[1] for rule in self.lab.rules(self.db)]

    def closed(self, reason: str = "") -> None:
        """Nothing is open on either side; the record of the removal gives this reason."""
        assert self.lab.rules(self.app) == self.lab.rules(self.db) == []
        assert {record["reason"] for record in self.lab.records(outcome="removed")} == {reason}
        assert self.lab.records("summary", reason="removals-held") == []


Stand = Callable[..., Standing]


@pytest.fixture(name="stand", params=["event", "sync", "sweep"])
def _stand(living_lab: Lab, request: pytest.FixtureRequest) -> Stand:
    """`stand("tcp/1", "tcp/2")` opens two links, `stand()` a mutual one."""
    return lambda *links: Standing(living_lab, request.param, links)


def test_another_look_changes_nothing(stand: Stand) -> None:
    standing = stand()
    before = standing.lab.changes()
    assert "applied" not in standing.again()
    assert standing.lab.changes() == before


@pytest.mark.parametrize("links", [("tcp/1",), ()])
def test_a_link_whose_tag_was_removed_is_removed(stand: Stand, links: tuple[str, ...]) -> None:
    """Both rules of a mutual link, as one decision about the link that was applied."""
    standing = stand(*links)
    applied = standing.lab.outcome()["link"]
    standing.lab.tag(standing.instance, link_peer=None)
    assert standing.again() == {"removed": 1}
    standing.closed()
    record = standing.lab.outcome()
    assert (record["link"], {record["from"], record["to"]}) == (applied, {standing.app.id, standing.db.id})
    assert record["ports"] == (links or ("mutual",))[0]


def test_a_changed_tag_replaces_what_changed(stand: Stand) -> None:
    """A port that stays keeps its rule, so that connections are not interrupted."""
    standing = stand("tcp/1", "tcp/2")
    (standing_rule,) = (rule for rule in standing.lab.raw_rules(standing.db) if rule["PortRange"] == "2/2")
    standing.wish(standing.instance, "tcp/2", "tcp/3")
    standing.again()
    assert standing.rules() == ["tcp/2", "tcp/3"]
    assert standing_rule in standing.lab.raw_rules(standing.db)


@pytest.mark.parametrize("released", [False, True])
def test_a_link_stays_until_no_instance_of_the_group_asks(stand: Stand, released: bool) -> None:
    """Ports that only the first one asked for go with its tag, or with the instance."""
    standing = stand("tcp/1", "tcp/2")
    second = standing.lab.instance(standing.app)
    standing.wish(second, "tcp/2")
    if released:
        standing.lab.release(standing.instance)
    else:
        standing.lab.tag(standing.instance, link_peer=None)
    standing.again()
    assert standing.rules() == ["tcp/2"]
    standing.lab.tag(second, link_peer=None)
    standing.instance = second
    standing.again()
    standing.closed()


def test_a_mutual_link_stays_while_the_other_side_asks(stand: Stand) -> None:
    standing = stand()
    standing.lab.instance(standing.db, tags={"link-peer": f"{standing.app.id}@{HOME}"})
    standing.lab.tag(standing.instance, link_peer=None)
    standing.again()
    assert (len(standing.lab.rules(standing.app)), standing.rules()) == (1, ["all"])


# decisions, which no limit of removals holds


def test_link_until_ends_the_links_of_its_instance(stand: Stand) -> None:
    """To the second, with the action `expire`."""
    standing = stand("tcp/1")
    standing.lab.policy(limits={"removals_per_run": 0})
    standing.lab.tag(standing.instance, link_until=standing.lab.iso(600))
    standing.lab.cloud.clock.advance(598)
    assert "removed" not in standing.again()
    standing.lab.cloud.clock.advance(2)
    assert standing.again()["removed"] == 1
    standing.closed("expired")
    assert [record["action"] for record in standing.lab.records(outcome="removed")] == ["expire"]


@pytest.mark.parametrize("accept", [None, "*@1000000000000003", "{app}@{home}:tcp/2", "{app}@{home}:tcp/2+tcp/1x"])
def test_consent_that_is_withdrawn_or_narrowed_closes_the_link(stand: Stand, accept: str | None) -> None:
    """No rule exists without consent."""
    standing = stand("tcp/1")
    standing.lab.policy(limits={"removals_per_run": 0})
    standing.lab.tag(standing.db, link_accept=accept and accept.format(app=standing.app.id, home=HOME))
    assert standing.again()["removed"] == 1
    standing.closed("no-consent")


@pytest.mark.parametrize("side", ["app", "db"])
@pytest.mark.parametrize(("tag", "reason"), [({"link_accept": None}, "no-consent"), ({"link_lock": "x"}, "locked")])
def test_one_group_closes_both_sides_of_a_mutual_link(
    stand: Stand, side: str, tag: dict[str, str | None], reason: str
) -> None:
    """A mutual link has both rules or neither."""
    standing = stand()
    standing.lab.tag(getattr(standing, side), **tag)
    standing.again()
    standing.closed(reason)


@pytest.mark.parametrize("by", ["never", "a set", "max_days_tags", "mutual"])
def test_what_the_policy_forbids_later_is_closed(stand: Stand, by: str) -> None:
    """Whatever consents, and whatever the limit of removals. A tag without an end is against `max_days_tags`."""
    standing, sets = stand(), {}
    if by == "a set":
        standing.lab.tag(standing.db, env="prod")
        sets = {"prod": {"account": standing.db.account, "tags": {"env": "prod"}}}
    forbidden = {"from": "set:prod" if sets else f"{standing.db.id}@{standing.db.account}", "to": f"*@{HOME}"}
    limits = {"removals_per_run": 0, "max_days_tags": 7 if by == "max_days_tags" else None}
    never = [forbidden] if by in ("never", "a set") else []
    standing.lab.policy(never=never, sets=sets, limits=limits, mutual="deny" if by == "mutual" else "allow")
    standing.again()
    standing.closed("not-allowed")


def test_while_paused_nothing_is_changed(stand: Stand) -> None:
    """Neither removed nor added: `denied`, `paused`."""
    standing = stand("tcp/1")
    standing.wish(standing.instance, "tcp/2")
    standing.lab.policy(paused=True)
    before = standing.lab.changes()
    assert set(standing.again()) == {"denied"}
    assert {record["reason"] for record in standing.lab.records(outcome="denied")} == {"paused"}
    assert (standing.rules(), standing.lab.changes()) == (["tcp/1"], before)
    standing.lab.policy()
    standing.again()
    assert standing.rules() == ["tcp/2"]


@pytest.mark.parametrize("fault", [{"kind": "throttle"}, {"kind": "error"}, {"kind": "truncated-after"}])
@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSecurityGroups", "DescribeSecurityGroupAttribute"])
def test_a_failed_read_removes_nothing(stand: Stand, action: str, fault: dict[str, Any]) -> None:
    """Once reads succeed, the link goes."""
    standing = stand("tcp/1")
    standing.lab.tag(standing.instance, link_peer=None)
    standing.lab.fault(service="ecs", action=action, times=None, **fault)
    assert set(standing.again()) <= {"postponed"}
    assert standing.rules() == ["tcp/1"]
    standing.lab.cloud.faults.clear()
    standing.again()
    standing.closed()


def test_an_account_that_shows_no_instances_keeps_its_rules(stand: Stand) -> None:
    """A caller without permission to list instances gets an empty list: a person must decide."""
    standing = stand("tcp/1")
    ecs = standing.lab.cloud.ecs
    permitted = ecs.permitted
    ecs.permitted = lambda caller, access: access.action != "ecs:DescribeInstances" and permitted(caller, access)
    standing.again()
    assert standing.rules() == ["tcp/1"]


def test_an_instance_omitted_from_one_read_keeps_its_link(stand: Stand) -> None:
    """A Describe call may omit members; they are read again before they count as gone."""
    standing = stand("tcp/1")
    standing.lab.leave_out(standing.instance)
    standing.again()
    assert (standing.rules(), standing.lab.records(outcome="removed")) == (["tcp/1"], [])


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("value", [None, "false"])
def test_a_changed_managed_tag_is_restored(stand: Stand, value: str | None) -> None:
    """Also where no rule has to be written."""
    standing = stand("tcp/1")
    standing.lab.tag(standing.db, **{MANAGED: value})
    standing.again()
    assert standing.lab.tags(standing.db)[MANAGED] == "true"


# edits by people


def test_a_copy_of_our_rule_with_a_higher_priority_is_removed(stand: Stand) -> None:
    """It has a valid marker, and at priority 1 it would beat an operator's drop."""
    standing = stand("tcp/1")
    (ours,) = standing.lab.raw_rules(standing.db)
    names = ("SourceGroupId", "SourceGroupOwnerAccount", "IpProtocol", "PortRange", "NicType", "Description")
    copied = {name: ours[name] for name in names if ours[name]}
    standing.lab.authorize(standing.db, **copied, Priority="1")
    for _ in range(2):
        standing.again()
        assert standing.lab.raw_rules(standing.db) == [ours]


@pytest.mark.parametrize("side", ["app", "db"])
def test_a_side_that_a_person_deleted_is_restored(stand: Stand, side: str) -> None:
    """The tag still asks for it. To close it, remove the tag or the consent, or add a drop rule."""
    standing = stand()
    standing.lab.revoke(getattr(standing, side))
    assert standing.again() == {"applied": 1}
    assert (len(standing.lab.rules(standing.app)), standing.rules()) == (1, ["all"])
    assert standing.lab.reasons(standing.app) == standing.lab.reasons(standing.db) == ["tag"]


@pytest.mark.parametrize(
    "text",
    ["kept by us", "link-peer/3 dep=prod", "link-peer/2 dep=prod home=1000000000000001 id=0000000000000000 by=tag"],
)
def test_a_rule_whose_description_a_person_changed_is_theirs(stand: Stand, text: str) -> None:
    """This is how to take over a rule: it counts as present, and stays when the tag goes."""
    standing = stand("tcp/1")
    standing.lab.modify(standing.db, standing.lab.raw_rules(standing.db)[0], Description=text)
    before = standing.lab.raw_rules(standing.db)
    assert "applied" not in standing.again()
    standing.lab.tag(standing.instance, link_peer=None)
    standing.again()
    assert standing.lab.raw_rules(standing.db) == before
