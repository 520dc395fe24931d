"""How a function starts, or refuses to."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import LinkPeerError, PolicyError

from tests.functional.lab import HOME, PEER, Lab


def test_a_function_in_another_account_than_home_does_not_start(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own keys would read the wrong account, where nothing is to be seen and everything would seem gone."""
    monkeypatch.setenv("FC_ACCOUNT_ID", PEER)
    with pytest.raises(PolicyError, match=f"home is {HOME}"):
        lab.sweep()


def test_a_policy_that_does_not_validate_stops_the_function_with_its_line(lab: Lab) -> None:
    lab.policy(paused="perhaps")
    with pytest.raises(PolicyError, match=r"policy\.yaml:\d+: paused"):
        lab.sweep()


def test_without_credentials_nothing_starts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the environment nor in the context."""
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    with pytest.raises(LinkPeerError, match="no credentials"):
        lab.sweep()
