"""`link-peer audit --verify` after trouble: whatever call failed or died, what link-peer did leaves nothing to find."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from link_peer.domain.errors import Transient
from link_peer_local.core.faults import Killed

from tests.functional.command import Cli
from tests.functional.lab import PEER, Lab


def asked(lab: Lab) -> Callable[[], object]:
    """A mutual link across accounts, by request."""
    body = lab.request(*lab.pair(), expires_at=lab.iso(20_000))
    return lambda: lab.cross_account(body)


def changed(lab: Lab) -> Callable[[], object]:
    """A tag that loses one port and gains another."""
    instance, _, db = lab.linked(ports=":tcp/1+tcp/2")
    lab.tag(instance, link_peer=f"{db.id}:tcp/2+tcp/3")
    return lambda: lab.auto_link(lab.tag_event(instance))


def swept(lab: Lab) -> Callable[[], object]:
    """Consent that ended on one group, the other half of a mutual link, and a link that was missed."""
    app, db = lab.pair()
    lab.instance(app, tags={"link-peer": f"{db.id}@{PEER}"})
    lab.instance(db)
    lab.sweep()
    lab.drain()
    assert len(lab.rules(db)) == 1
    lab.tag(db, link_accept=None)
    lab.instance(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1"})
    return lab.sweep


@pytest.mark.parametrize("kind", ["kill", "kill-after", "reset-after", "throttle"])
@pytest.mark.parametrize("prepare", [asked, changed, swept])
def test_trouble_at_any_change_leaves_nothing_to_find(
    make_lab: Callable[[], Lab],
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Lab], Callable[[], object]],
    kind: str,
) -> None:
    """Neither right after it nor after the redelivery and the next sweep."""
    lab = make_lab()
    run, before = prepare(lab), lab.changes()
    run()
    changes = lab.changes() - before
    assert changes >= 2
    for number in range(changes):
        lab = make_lab()
        run = prepare(lab)
        writes = (
            "AuthorizeSecurityGroup",
            "RevokeSecurityGroup",
            "ModifySecurityGroupRule",
            "UntagResources",
            "TagResources",
        )
        for action in writes:
            lab.fault(service="ecs", action=action, kind=kind, skip=number)
        for _ in range(3):
            with contextlib.suppress(Killed, Transient):
                run()
            lab.cloud.clock.advance(1300)
            assert Cli(capsys).json("audit", "--verify") == (0, []), number
        lab.drain()
        with contextlib.suppress(Killed):
            lab.sweep()
        lab.cloud.clock.advance(1300)
        assert Cli(capsys).json("audit", "--verify") == (0, []), number
