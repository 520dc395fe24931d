"""Random runs that once broke an invariant, shortened as far as possible."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation import oracle
from tests.simulation.driver import deliver
from tests.simulation.random_inputs import INSTANCES, A, B, X
from tests.simulation.random_run import Life
from tests.simulation.scenarios.common import POLICY

ONE, TWO, _, FOUR, _ = INSTANCES


@pytest.fixture(name="life")
def _life() -> Iterator[Life]:
    life = Life()
    yield life
    life.teardown()


def test_the_intent_of_an_instance_link_names_the_group_that_gets_the_tag(life: Life) -> None:
    """I5: a second delivery finds the rules without the managed tag, and adds it."""
    life.begin(tags=[])
    life.request(ends=(ONE, TWO), name="r-1", action="link", wanted_ports=[], until=0, plan={}, within=True, at=2)


def test_an_instance_that_names_itself_keeps_no_tag_on_its_group(life: Life) -> None:
    """I9: the group has lost its last rule of ours, and an invalid tag is no reason to keep the managed tag."""
    life.begin(tags=[(FOUR, B, [])])
    life.tag(party=FOUR, peer=A, wanted_ports=["tcp/20-30", "udp/53"], key="link-peer")
    life.tag(party=FOUR, peer=FOUR, wanted_ports=[], key="link-peer.2")
    assert "link-managed.prod" in life.world.groups[X].tags
    life.rest()


def test_an_expired_request_does_not_remove_a_tags_claim(life: Life) -> None:
    """I9: the request has expired and reads show no instance: the tag's claim stays."""
    life.begin(tags=[(FOUR, A, [])])
    life.request(ends=(A, X), name="r-2", action="link", wanted_ports=[], until=600, plan={}, within=False, at=0)
    life.later(policy=POLICY, seconds=700)
    life.sweep(plan={-1: "empty"}, within=False, at=0)
    assert set(oracle.owned(life.world, POLICY).values()) == {frozenset({"tag"})}


def test_an_account_that_denies_access_during_an_event_ends_the_delivery(life: Life) -> None:
    """The rules were readable but the instances were not: the function once read them again and again."""
    life.begin(tags=[(ONE, B, [])])
    life.untag(party=ONE, key="link-peer", text="")
    life.event(party=ONE, state="tags", plan={0: "kill"}, within=False, at=0)
    calls = deliver(life.world.copy(), life.sent[-1], POLICY).calls
    assert "members" in calls
    for number in range(len(calls)):
        run = deliver(life.world.copy(), life.sent[-1], POLICY, {number: "forbidden"})
        assert run.end in ("acked", "raised")


def test_the_same_request_id_with_an_end_replaces_its_claim(life: Life) -> None:
    """I6 is about the latest request only: the rules then have the claim that expires."""
    life.begin(tags=[])
    for until in (0, 600):
        life.request(ends=(X, A), name="r-1", action="link", wanted_ports=[], until=until, plan={}, within=False, at=0)
    assert set(oracle.owned(life.world, POLICY).values()) == {frozenset({"req:r-1~20270115T081030Z"})}
