"""Faults through real sockets and the official SDKs: what each means to us, and where the delivery ends."""

from __future__ import annotations

import auto_link
import cross_account
import pytest

from local.faults import KINDS
from shared import delivery
from shared.accounts import Accounts
from shared.errors import Ambiguous, CloudError, NoAccess, Transient
from shared.policy import load
from shared.retry import Retry
from shared.settings import load as settings
from tests.functional.lab import HOME, PEER
from tests.functional.wire import HurriedClock, WireLab

pytestmark = pytest.mark.http

SPOILT = sorted(KINDS - {"slow", "throttle", "kill", "kill-after"})


def ecs(lab: WireLab, account: str = HOME, attempts_end: float = 0.0):
    """One account's ECS as the functions have it; with no time left, so that nothing is tried again."""
    clock = HurriedClock()
    retry = Retry(clock, clock.now() + attempts_end)
    return Accounts(settings(lab.context), load(lab.policy_path), clock, retry, "test").ecs(account)


@pytest.mark.parametrize("kind", SPOILT)
def test_no_readable_answer_is_ambiguous(wire_lab: WireLab, kind: str) -> None:
    """Whatever it was, the change may have been made: nobody may call it failed, or done."""
    group = wire_lab.group()
    wire_lab.fault(service="ecs", action="TagResources", kind=kind)
    with pytest.raises(Ambiguous):
        ecs(wire_lab).tag_managed(group.id, "prod")
    assert bool(wire_lab.tags(group)) is kind.endswith("-after")
