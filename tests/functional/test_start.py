"""When a function starts, and when it refuses to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aliyun_local.api import Role
from link_peer.domain.errors import LinkPeerError, PolicyError

from tests.functional.lab import HOME, PEER, Lab


def test_a_function_outside_the_home_account_does_not_start(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own keys would read the wrong account, where every instance would seem gone."""
    monkeypatch.setenv("FC_ACCOUNT_ID", PEER)
    with pytest.raises(PolicyError, match=f"home is {HOME}"):
        lab.sweep()


def test_an_invalid_policy_stops_the_function_and_names_the_line(lab: Lab) -> None:
    lab.policy(paused="perhaps")
    with pytest.raises(PolicyError, match=r"policy\.yaml:\d+:\d+: paused"):
        lab.sweep()


@pytest.mark.parametrize("sweep_queue", ["", "acme-sweeps"])
@pytest.mark.parametrize("ending", ["requests", "sweeps", "dead-letters"])
def test_a_queue_of_the_deployment_is_no_account_s_own(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, ending: str, sweep_queue: str
) -> None:
    """Others than the account post to it, so it would prove nothing; also for a function that is not told of its
    sweeps."""
    monkeypatch.setenv("LINK_PEER_QUEUE", "acme-requests")
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", sweep_queue)
    lab.policy_account(PEER, queue=f"acme-{ending}")
    with pytest.raises(
        PolicyError, match=f"acme-{ending} is a queue of the deployment .* give {PEER} a queue of its own"
    ):
        lab.sweep()
    lab.policy_account(PEER, queue=f"acme-requests-{PEER}")
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", "")
    assert lab.sweep() == {}


@pytest.mark.parametrize("form", ["mapping", "object"])
def test_a_function_runs_with_the_keys_of_its_context(lab: Lab, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """As python3.10 gives them, with none in the environment: a session of a role, whose token every service checks."""
    for name in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name)
    role = lab.cloud.identity.add_role(Role(HOME, "link-peer-function", ""))
    lab.cloud.identity.allow_only(role.arn, ["*"])
    key = lab.cloud.identity.issue(role, "fc", lab.cloud.clock.now() + 3600)
    keys_fields = {"access_key_id": key.access_key_id, "access_key_secret": key.secret, "security_token": key.token}
    lab.context.credentials = keys_fields if form == "mapping" else SimpleNamespace(**keys_fields)
    app, db = lab.group(), lab.group("*")
    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))) == {"applied": 1}
    lab.context.credentials = None
    with pytest.raises(LinkPeerError, match="no credentials"):
        lab.sweep()


@pytest.mark.parametrize(("prefix", "setting"), [("acme", ""), ("acme", "other"), ("link", "acme")])
def test_a_policy_for_other_tags_stops_the_function_and_names_both_prefixes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, prefix: str, setting: str
) -> None:
    """It would read the tags of another deployment. The setting is `link` where it is not set."""
    lab.policy(tag_prefix=prefix)
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", setting)
    with pytest.raises(PolicyError, match=f"tag_prefix is {prefix}, but LINK_PEER_TAG_PREFIX is {setting or 'link'}"):
        lab.sweep()
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", prefix)
    assert lab.sweep() == {}


def test_a_tag_prefix_that_no_key_may_begin_with_stops_the_function(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", "Acme-")
    with pytest.raises(LinkPeerError, match="LINK_PEER_TAG_PREFIX is 'Acme-': 1 to 16"):
        lab.sweep()
