"""Lives in which an invariant once broke, each as short as it could be made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation import oracle
from tests.simulation.machine import INSTANCES, A, B, Life, X
from tests.simulation.run import deliver
from tests.simulation.scenarios import POLICY

ONE, TWO, _, FOUR, _ = INSTANCES


@pytest.fixture(name="life")
def _life() -> Iterator[Life]:
    life = Life()
    yield life
    life.teardown()


def test_the_intent_of_an_instance_link_names_the_group_that_gets_the_tag(life: Life) -> None:
    """I5: the second delivery finds the rules there and the tag not, and puts it on."""
    life.begin(wishes=[])
    life.request(ends=(ONE, TWO), name="r-1", action="link", wish=[], until=0, plan={}, within=True, at=2)


def test_an_instance_that_names_itself_keeps_no_tag_on_its_group(life: Life) -> None:
    """I9: its group has lost its last rule of ours, and the wish that is none must not hold the managed tag."""
    life.begin(wishes=[(FOUR, B, [])])
    life.tag(party=FOUR, peer=A, wish=["tcp/20-30", "udp/53"], key="link-peer")
    life.tag(party=FOUR, peer=FOUR, wish=[], key="link-peer.2")
    assert "link-managed.prod" in life.world.groups[X].tags
    life.rest()


def test_a_requests_end_says_nothing_of_the_tag_beside_it(life: Life) -> None:
    """I9: the request has ended, and the cloud shows no instance: the tag's reason stays."""
    life.begin(wishes=[(FOUR, A, [])])
    life.request(ends=(A, X), name="r-2", action="link", wish=[], until=600, plan={}, within=False, at=0)
    life.later(policy=POLICY, seconds=700)
    life.sweep(plan={-1: "empty"}, within=False, at=0)
    assert set(oracle.owned(life.world, POLICY).values()) == {frozenset({"tag"})}


def test_an_account_that_closes_in_the_middle_of_an_event_ends_it(life: Life) -> None:
    """The rules were read and then no instance may be: the function asked for them again and again, for ever."""
    life.begin(wishes=[(ONE, B, [])])
    life.untag(party=ONE, key="link-peer", text="")
    life.event(party=ONE, state="tags", plan={0: "kill"}, within=False, at=0)
    calls = deliver(life.world.copy(), life.sent[-1], POLICY).calls
    assert "members" in calls
    for number in range(len(calls)):
        run = deliver(life.world.copy(), life.sent[-1], POLICY, {number: "forbidden"})
        assert run.end in ("acked", "raised")
