"""The state of each link that stands, beside what the next sweep does: what is closing goes, and nothing else does."""

# ruff: noqa: ARG005

from __future__ import annotations

from collections.abc import Callable

import pytest
from link_peer_local.ecs.state import Group

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab

pytestmark = pytest.mark.usefixtures("by_account")

DROP = {"SourceCidrIp": "10.0.0.0/8", "Policy": "drop", "Priority": "1"}


def drop(lab: Lab, group: Group, protocol: str = "ALL", ports: str = "-1/-1") -> None:
    lab.authorize(group, IpProtocol=protocol, PortRange=ports, **DROP)


def requested(*ports: str, **fields: str) -> Callable[[Lab], tuple[Group, Group]]:
    """A link by request between two groups with an instance each."""

    def make(lab: Lab) -> tuple[Group, Group]:
        app, db = lab.group("*"), lab.group("*")
        for group in (app, db):
            lab.instance(group)
        lab.cross_account(lab.request(app, db, *ports, **fields))
        return app, db

    return make


def tagged(lab: Lab) -> tuple[Group, Group]:
    """A link by the tag of one instance."""
    instance, app, db = lab.linked()
    lab.instance(db)
    lab.auto_link(lab.event(instance))
    return app, db


ONE = requested("tcp/3306")
TWO = requested("tcp/3306", "tcp/3307")
MUTUAL = requested()

Change = Callable[[Lab, Group, Group], object]
STATES: dict[str, tuple[str, Callable[[Lab], tuple[Group, Group]], Change]] = {
    "by request": ("open", ONE, lambda lab, app, db: None),
    "by tag": ("open", tagged, lambda lab, app, db: None),
    "one port dropped": ("partly", TWO, lambda lab, app, db: drop(lab, db, "TCP", "3307/3307")),
    "one direction dropped": ("partly", MUTUAL, lambda lab, app, db: drop(lab, db)),
    "dropped": ("blocked", ONE, lambda lab, app, db: drop(lab, db)),
    "both directions dropped": ("blocked", MUTUAL, lambda lab, app, db: [drop(lab, one) for one in (app, db)]),
    "one half gone": ("half-open", MUTUAL, lambda lab, app, db: lab.revoke(app)),
    "locked": ("closing", ONE, lambda lab, app, db: lab.tag(db, **{"link-lock": "x"})),
    "consent withdrawn": ("closing", ONE, lambda lab, app, db: lab.tag(db, **{"link-accept": None})),
    "consent ended": ("closing", ONE, lambda lab, app, db: lab.tag(db, **{"link-accept": "*~20200101T000000Z"})),
    "half withdrawn, so both go": ("closing", MUTUAL, lambda lab, app, db: lab.tag(app, **{"link-accept": None})),
    "policy denies": ("closing", ONE, lambda lab, app, db: lab.policy(deny={"ports": ["tcp/3306"]})),
    "nobody asks": ("closing", tagged, lambda lab, app, db: untagged(lab)),
    "managed tag gone": ("open", ONE, lambda lab, app, db: lab.tag(db, **{f"link-managed.prod.{HOME}": None})),
}


def untagged(lab: Lab) -> None:
    for account in (HOME, PEER):
        for instance in lab.cloud.ecs.accounts[account].instances.values():
            lab.tag(instance, **{"link-peer": None})


@pytest.mark.parametrize(("state", "make", "change"), STATES.values(), ids=STATES)
def test_the_state_of_a_link_is_what_the_views_say_and_the_sweep_does(
    living_lab: Lab,
    capsys: pytest.CaptureFixture[str],
    state: str,
    make: Callable[[Lab], tuple[Group, Group]],
    change: Change,
) -> None:
    """`links` and `explain` say the same word, of links whose group lost the managed tag too; the sweep then removes all rules of
    a link if and only if it is closing."""
    lab, cli = living_lab, Cli(capsys)
    app, db = make(lab)
    change(lab, app, db)
    [link] = cli.json("links")[1]
    assert link["state"] == state, link["state_detail"]
    [explained] = cli.json("explain", app.id, db.id)[1]
    assert [one["state"] for one in explained["links"]] == [state]
    lab.sweep()
    assert (cli.json("links")[1] == []) is (state == "closing")


@pytest.mark.parametrize(("limit", "closing"), [(1, False), (2, True)])
def test_what_the_removal_guard_holds_is_not_closing(
    living_lab: Lab, capsys: pytest.CaptureFixture[str], limit: int, closing: bool
) -> None:
    """Two rules would go at once only because an account does not show an instance."""
    lab, cli = living_lab, Cli(capsys)
    lab.policy(limits={"removals_per_run": limit})
    instances = [lab.linked()[0] for _ in range(2)]
    lab.auto_link(*map(lab.event, instances))
    for instance in instances:
        lab.release(instance)
    states = [one["state"] for one in cli.json("links")[1]]
    assert (states == ["closing", "closing"]) is closing, states
    lab.sweep()
    assert (cli.json("links")[1] == []) is closing
