"""When a function starts, and when it refuses to."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import LinkPeerError, PolicyError

from tests.functional.lab import HOME, PEER, Lab


def test_a_function_outside_the_home_account_does_not_start(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own keys would read the wrong account, where every instance would seem gone."""
    monkeypatch.setenv("FC_ACCOUNT_ID", PEER)
    with pytest.raises(PolicyError, match=f"home is {HOME}"):
        lab.sweep()


def test_an_invalid_policy_stops_the_function_and_names_the_line(lab: Lab) -> None:
    lab.policy(paused="perhaps")
    with pytest.raises(PolicyError, match=r"policy\.yaml:\d+: paused"):
        lab.sweep()


def test_without_credentials_the_function_does_not_start(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the environment nor in the context."""
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    with pytest.raises(LinkPeerError, match="no credentials"):
        lab.sweep()


def test_the_shared_queue_is_no_account_s_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone may post to it, so it would prove nothing."""
    lab.policy_account(PEER, queue="link-peer-requests")
    monkeypatch.setenv("LINK_PEER_QUEUE", "link-peer-requests")
    with pytest.raises(PolicyError, match=f"give {PEER} a queue of its own"):
        lab.sweep()
