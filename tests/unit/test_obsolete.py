"""What a dry run lists beside what it would change, and when it plans removals again to say why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from link_peer.domain.marker import render
from link_peer.domain.model import TAG, Claim, Marker
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.views.standing import Standing
from link_peer_cli.access.environment import Environment
from link_peer_cli.checks.obsolete import _may_leave_removals, _renamed
from link_peer_cli.inventory.shown import claims_text
from msgspec.structs import replace

from tests.unit.small_world import APP, CACHE, DB, HOME, POLICY, REGION, A
from tests.unit.snapshots import group, key, member, ours, view

RULE = ours(key(DB, APP))
LINK = Standing(APP, DB, (), (TAG,), (RULE,), askers=(A,))
UNASKED = replace(LINK, askers=())


def swept(*, phase: bool, **fields: Any) -> SweptAccounts:
    """A dry run that read every rule and has nothing left to do, but for these fields of its second account. `phase`:
    something comes later there."""
    report = {"planned": SimpleNamespace(due=(), doubted=()), "pending": (), "undone": ()}
    idle = SimpleNamespace(late=False, report=SimpleNamespace(**report), phase=SimpleNamespace(later=False))
    report |= {name: fields.pop(name) for name in [*fields] if name in report}
    sweep = {"late": False, "report": SimpleNamespace(**report), "phase": SimpleNamespace(later=phase)}
    sweep |= {name: fields.pop(name) for name in [*fields] if name in sweep}
    delivery, fetch = SimpleNamespace(policy=POLICY, region=REGION), SimpleNamespace(postponed=())
    whole = {"unreadable": {}, "unread": {}, "managed": {DB}, "delivery": delivery, "fetch": fetch}
    return cast(SweptAccounts, SimpleNamespace(**{**whole, **fields, "sweeps": [idle, SimpleNamespace(**sweep)]}))


@pytest.mark.parametrize(
    ("fields", "link", "may"),
    [
        ({}, LINK, False),
        ({"unreadable": {HOME: "no answer"}}, LINK, True),
        ({"unread": {HOME: 1}}, LINK, True),
        ({"late": True}, LINK, True),
        ({"planned": SimpleNamespace(due=(RULE,), doubted=())}, LINK, True),
        ({"planned": SimpleNamespace(due=(), doubted=(RULE,))}, LINK, True),
        ({"pending": (RULE,)}, LINK, True),
        ({"undone": (RULE,)}, LINK, True),
        # what somebody asks for is judged later
        ({"phase": False}, UNASKED, False),
        ({}, UNASKED, True),
        ({}, replace(UNASKED, claims=(Claim("chg-1"),)), False),
        ({}, replace(UNASKED, closing="nobody asks for it"), False),
        ({}, replace(LINK, rules=(member(A),)), True),
        ({}, replace(LINK, source=CACHE), True),  # which is not shown
        ({}, replace(LINK, source=A), True),
    ],
)
def test_removals_are_planned_again_where_the_sweep_may_have_left_some(
    fields: dict[str, Any], link: Standing, may: bool
) -> None:
    """Where removals were held, a read failed, or it was not judged whether somebody asks for a link."""
    snapshot = view([group(APP), group(DB)], rules=[RULE])
    assert _may_leave_removals(swept(**{"phase": True, **fields}), snapshot, [LINK, link]) is may


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_rule_under_a_former_name_is_listed_with_its_claims(is_damaged: bool) -> None:
    """One whose marker is that of another rule, with its description."""
    marker = Marker(HOME, "old", key(CACHE if is_damaged else DB, APP).id(HOME, "old", REGION), (TAG, Claim("chg-1")))
    rule = replace(RULE, description=render(marker))
    env = cast(Environment, SimpleNamespace(policy=POLICY, settings=SimpleNamespace(region=REGION)))
    [entry] = _renamed(env, view([group(DB)], rules=[RULE, rule]))
    claims = f"claimed by {claims_text(['tag', 'chg-1'], 'old')}"
    assert (entry.kind, entry.subject) == (("marker", rule.description) if is_damaged else ("deployment", claims))
    assert ("link-peer close --deployment old removes it" in entry.reason) is not is_damaged
