"""The managed tag is removed from groups on which no rule of ours is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.denials import UNWANTED
from link_peer.domain.errors import NoAccess, Throttled, Transient
from link_peer.domain.model import TAG, Claim, Link, Party, Rule
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.tags import parse_ports
from link_peer.engine.scopes.untag import untag_empty_groups
from link_peer.planning.decision import DesiredLink
from link_peer.runtime.retry import ATTEMPTS

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, FakeScope, delivery
from tests.unit.small_world import APP, DB, HOME, INSTANCES, MANAGED, NOW, PEER, POLICY
from tests.unit.snapshots import group, key, managed, ours, policy, theirs

K1 = key(DB, APP, "tcp/1")


class Untagging:
    """A scope on sg-app and sg-db, of which sg-db has the managed tag; its rules were read."""

    def __init__(
        self,
        *rules: Rule,
        desired: Any = (),
        with_policy: Policy = POLICY,
        kind: type[FakeEcs] = FakeEcs,
        read: bool = True,
        extra_parties: Sequence[Party] = (),
    ) -> None:
        self.calls: list[str] = []
        groups = [group(APP, "*"), managed(DB, "*"), *map(managed, extra_parties)]
        self.ecs, self.peer = (
            kind(
                [group for group in groups if group.party.account == account],
                rules=rules,
                calls=self.calls,
                account=account,
            )
            for account in (HOME, PEER)
        )
        self.log = FakeLog(self.calls)
        self.clock = FakeClock()
        world = delivery(self.ecs, self.peer, log=self.log, policy=with_policy, clock=self.clock)
        self.scope = FakeScope(world, desired)
        self.scope.fetch.parties([APP, DB, *extra_parties])
        if read:
            self.scope.fetch.rules([APP, DB, *extra_parties])
        self.calls.clear()

    def run(self, account: str = HOME) -> list[str]:
        return untag_empty_groups(self.scope, account)

    @property
    def has_tag(self) -> bool:
        return self.ecs.group_by_id["sg-db"].tags.get(MANAGED) == "true"


def test_the_tag_of_an_empty_group_is_removed_between_two_reads() -> None:
    """The intent is recorded before the change. No link changes, so there is no outcome; the RequestId is returned."""
    untag = Untagging(theirs(K1))
    (request,) = untag.run()
    assert request.startswith("request-")
    assert untag.ecs.group_by_id[DB.id].tags.keys().isdisjoint([MANAGED, INSTANCES])
    assert untag.calls == ["rules sg-db", "intent", "untag sg-db", "rules sg-db"]
    assert (untag.log.records[0]["from"], untag.log.records[0]["action"]) == ("sg-db", "repair")


def test_ten_groups_of_an_account_lose_the_tag_in_a_run() -> None:
    """Those of other accounts keep it."""
    untag = Untagging(extra_parties=[Party(account, f"sg-{n:02}") for account in (HOME, PEER) for n in range(11)])
    assert len(untag.run()) == 10
    assert untag.ecs.changes() == [f"untag sg-{n:02}" for n in range(10)]
    assert all(group.tags[MANAGED] == "true" for group in untag.peer.group_by_id.values())
    assert len(untag.run(PEER)) == 10


def test_a_refusal_ends_the_tries_in_its_account() -> None:
    """The request that was refused is in the summary, too."""
    untag = Untagging(extra_parties=[Party(HOME, "sg-00"), Party(PEER, "sg-00")])
    untag.ecs.errors["untag"] = [NoAccess("Forbidden.RAM", "no", request_id="request-x")]
    assert untag.run() == ["request-x"]
    assert (untag.has_tag, len(untag.run(PEER))) == (True, 1)


def test_a_rule_that_was_written_since_the_group_was_read_keeps_the_tag() -> None:
    """The group is read once more before the change."""
    untag = Untagging()
    untag.ecs.existing.append(ours(K1))
    assert (untag.run(), untag.has_tag, untag.calls) == ([], True, ["rules sg-db"])


class Racing(FakeEcs):
    """Another delivery writes a rule while the tag is removed."""

    def untag(self, group: str, keys: Sequence[str]) -> str:
        self.existing.append(ours(K1))
        return super().untag(group, keys)


class Failing(FakeEcs):
    """The read that follows the change fails."""

    def untag(self, group: str, keys: Sequence[str]) -> str:
        self.errors["rules"] = [Transient("timeout")]
        return super().untag(group, keys)


@pytest.mark.parametrize("kind", [Racing, Failing])
def test_a_group_that_may_have_a_rule_by_now_gets_the_tag_back(kind: type[FakeEcs]) -> None:
    """A failed read does not prove that the group is empty. Both requests are returned."""
    untag = Untagging(kind=kind)
    assert len(untag.run()) == 2
    assert untag.has_tag
    assert untag.ecs.changes() == ["untag sg-db", "tag sg-db"]


@pytest.mark.parametrize(
    ("call", "errors", "records"),
    [
        ("rules", [Transient("timeout")], []),
        ("rules", [NoAccess("Forbidden.RAM", "no")], []),
        ("untag", [Throttled("no")] * ATTEMPTS, ["intent"]),
    ],
)
def test_trouble_keeps_the_tag_until_the_next_run(call: str, errors: list[Exception], records: list[str]) -> None:
    """Nothing is raised: the next sweep tries again. A read that fails is noted; a throttled account is no failure."""
    untag = Untagging()
    untag.ecs.errors[call] = errors
    assert (untag.run(), untag.has_tag, untag.log.kinds()) == ([], True, records)
    assert untag.scope.store.readable(DB.account) is (call == "untag")


WANTED = DesiredLink(Link(APP, DB, parse_ports("tcp/1")), TAG)
NOTED = theirs(K1, ours(K1).description + " a note")


@pytest.mark.parametrize(
    ("rules", "desired_links", "fields", "is_kept"),
    [
        ([], [WANTED], {}, True),
        ([theirs(K1)], [WANTED], {}, False),
        ([], [msgspec.structs.replace(WANTED, claim=Claim("chg-1"), opens=False)], {}, False),
        ([], [msgspec.structs.replace(WANTED, claim=Claim("chg-1", int(NOW)))], {}, False),
        ([], [msgspec.structs.replace(WANTED, denial=UNWANTED)], {}, False),
        ([], [msgspec.structs.replace(WANTED, same_group=True)], {}, False),
        ([NOTED], [], {}, True),
        ([], [], {"read": False}, True),
        ([], [], {"with_policy": policy(paused=Pause.ALL)}, True),
        ([], [], {"with_policy": policy(paused=Pause.OPENING)}, False),
    ],
    ids=[
        *(
            "waits for a rule",
            "a person's rule is the link",
            "a request, read from a rule",
            "an ended one",
            "a denied link",
        ),
        *("no rule is needed", "a damaged marker", "not read", "paused", "opening paused"),
    ],
)
def test_a_tag_is_kept_for_what_may_come_or_must_be_reported(
    rules: list[Rule], desired_links: list[DesiredLink], fields: dict[str, Any], is_kept: bool
) -> None:
    """A rule that is refused each time would make the tag come and go; every sweep reports a damaged marker."""
    untag = Untagging(*rules, desired=desired_links, **fields)
    assert (len(untag.run()), untag.has_tag) == (0 if is_kept else 1, is_kept)
    assert not is_kept or not untag.ecs.changes()


def test_nothing_is_changed_after_the_deadline() -> None:
    """The time that is left is for the summary."""
    untag = Untagging()
    untag.clock.time = untag.scope.delivery.retry.deadline
    assert (untag.run(), untag.has_tag, untag.calls) == ([], True, [])


def test_an_account_that_refuses_access_keeps_its_tags() -> None:
    """Another read of the same group met it meanwhile. Nothing is recorded or changed."""
    untag = Untagging()
    holds = untag.ecs.rules

    def refusing(name: str) -> list[Rule]:
        untag.scope.store.note_trouble(HOME, NoAccess("Forbidden.RAM", "no"))
        return holds(name)

    untag.ecs.rules = refusing  # type: ignore[method-assign]
    assert untag.run() == []
    assert (untag.has_tag, untag.log.records) == (True, [])
