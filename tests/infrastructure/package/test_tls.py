"""The functions over TLS, as on the real cloud: HTTPS takes other paths through the SDKs than HTTP does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from link_peer_deploy.instance import BUDGET, Instance

from tests.functional.lab import PEER
from tests.infrastructure.package.conftest import PackageLab

pytestmark = pytest.mark.http


def test_links_in_one_account_and_in_two_over_tls(wire_lab: PackageLab, start: Callable[..., Instance]) -> None:
    """ECS, SLS, MNS and STS, with nothing imported that is not in the budget."""
    instance = start(wire_lab.cloud)
    a, b = wire_lab.pair()
    db = wire_lab.group("*")
    wish = f"{db.id}:tcp/1 {b.id}@{PEER}"
    event = wire_lab.event(wire_lab.instance(a, tags={"link-peer": wish}))
    assert instance.deliver("auto_link", event) == {"applied": 1}
    [posted] = wire_lab.queued()
    assert instance.deliver("cross_account", [wire_lab.message(posted)]) == {"applied": 1}
    assert wire_lab.rules(db) == [f"{a.id} tcp/1"]
    assert wire_lab.rules(b) == [f"{a.id} all"]
    assert instance.imported().excess({**BUDGET["auto_link"], **BUDGET["cross_account"]}) == []
