"""Fixtures of the tests of commands."""

from __future__ import annotations

import pytest
from link_peer_local.core.identity import Caller, Identity
from link_peer_local.core.policy import Access


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Caller, str]]:
    """Who asked for which action, of the local cloud that the test makes after this."""
    found: list[tuple[Caller, str]] = []
    permitted = Identity.permitted

    def watched(self: Identity, caller: Caller, access: Access) -> bool:
        found.append((caller, access.action))
        return permitted(self, caller, access)

    monkeypatch.setattr(Identity, "permitted", watched)
    return found
