"""Settings: what the environment says, what the platform's context says, and which of them wins."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import link_peer
import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.settings import SERVICES, Credentials, Settings, load

NAMES = ("access_key_id", "access_key_secret", "security_token")
GIVEN = dict(zip(NAMES, ("STS.context", "secret-context", "token-context"), strict=True))
ENV = {
    "LINK_PEER_REGION": "cn-qingdao",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI.env",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret-env",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "token-env",
}


def context(credentials: Any = None, **fields: Any) -> Any:
    return SimpleNamespace(credentials=credentials, **fields)


def keys(given: Any, **env: str) -> Credentials:
    """The credentials in an environment without keys, but for those of `env`."""
    return load(context(given), {"LINK_PEER_REGION": "cn-qingdao", **env}).credentials


# credentials


@pytest.mark.parametrize("form", [dict, lambda given: SimpleNamespace(**given)], ids=["mapping", "object"])
def test_the_context_alone_may_give_the_keys(form: Any) -> None:
    """python3.10 passes them there and not in the environment. The security token is kept."""
    assert keys(form(GIVEN)) == Credentials("STS.context", "secret-context", "token-context")


@pytest.mark.parametrize("form", [dict, lambda given: SimpleNamespace(**given)], ids=["mapping", "object"])
@pytest.mark.parametrize("empty", [None, ""])
def test_keys_without_a_security_token_have_none(form: Any, empty: str | None) -> None:
    """Whether the platform leaves it out or gives an empty one. An empty token would be sent and refused."""
    without = {name: GIVEN[name] for name in NAMES[:2]}
    for given in (without, {**without, "security_token": empty}):
        assert keys(form(given)).security_token is None


def test_the_keys_of_the_context_come_first() -> None:
    """All three together. A warm instance may outlive the keys that it started with; the context's are fresh."""
    assert load(context(GIVEN), ENV).credentials == Credentials("STS.context", "secret-context", "token-context")
    assert load(context(), ENV).credentials == Credentials("LTAI.env", "secret-env", "token-env")
    assert load(None, {**ENV, "ALIBABA_CLOUD_SECURITY_TOKEN": ""}).credentials.security_token is None


@pytest.mark.parametrize("missing", ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
def test_half_of_a_key_in_the_environment_does_not_count(missing: str) -> None:
    with pytest.raises(LinkPeerError, match="no credentials"):
        load(None, {name: value for name, value in ENV.items() if name != missing})


@pytest.mark.parametrize("missing", NAMES[:2])
@pytest.mark.parametrize("form", [dict, lambda given: SimpleNamespace(**given)], ids=["mapping", "object"])
def test_half_of_a_key_in_the_context_is_none(form: Any, missing: str) -> None:
    """The error says what to set."""
    for given in (None, form({**GIVEN, missing: ""}), form({n: v for n, v in GIVEN.items() if n != missing})):
        with pytest.raises(LinkPeerError, match="ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
            keys(given)


def test_a_context_without_credentials_gives_none() -> None:
    for nothing in (None, SimpleNamespace()):
        with pytest.raises(LinkPeerError, match="no credentials"):
            load(nothing, {"LINK_PEER_REGION": "cn-qingdao"})


def test_credentials_are_shown_without_their_secret() -> None:
    """A log may contain them by accident."""
    text = repr(Credentials("LTAI1234567890", "secret", "token"))
    assert text == str(Credentials("LTAI1234567890", "secret", "token")) == "Credentials(LTAI…)"


# region, account, policy


@pytest.mark.parametrize(
    ("env", "region"),
    [
        ({"LINK_PEER_REGION": "cn-a", "FC_REGION": "cn-b"}, "cn-a"),
        ({"LINK_PEER_REGION": "", "FC_REGION": "cn-b"}, "cn-b"),
        ({}, "cn-c"),
    ],
)
def test_the_region_is_ours_then_the_platforms(env: dict[str, str], region: str) -> None:
    """The setting, else the function's environment, else its context."""
    assert load(context(GIVEN, region="cn-c"), env).region == region


@pytest.mark.parametrize("given", [None, context(GIVEN), context(GIVEN, region=None), context(GIVEN, region="")])
def test_without_a_region_nothing_starts(given: Any) -> None:
    env = {name: value for name, value in ENV.items() if name != "LINK_PEER_REGION"}
    with pytest.raises(LinkPeerError, match="LINK_PEER_REGION is not set"):
        load(given, env)


def test_settings_come_from_their_variables() -> None:
    """What is not set is empty."""
    audit = {"LINK_PEER_AUDIT_PROJECT": "p", "LINK_PEER_AUDIT_LOGSTORE": "l"}
    more = {"LINK_PEER_QUEUE": "q", "FC_ACCOUNT_ID": "1", "LINK_PEER_POLICY": "/policy"}
    found = load(None, {**ENV, **audit, **more})
    assert (found.audit_project, found.audit_logstore, found.queue) == ("p", "l", "q")
    assert found.operator_logstore == "l-operators"
    assert load(None, {**ENV, **audit, "LINK_PEER_OPERATOR_LOGSTORE": "o"}).operator_logstore == "o"
    assert (found.account, found.policy_path) == ("1", "/policy")
    found = load(None, ENV)
    assert (found.audit_project, found.audit_logstore, found.queue, found.account) == ("", "", "", "")
    assert found.operator_logstore == ""


def test_the_policy_is_beside_the_code_unless_it_is_set() -> None:
    """Beside the folder of the library, which is where the package has it."""
    beside = Path(link_peer.__file__).parents[1] / "policy.yaml"
    for env in (ENV, {**ENV, "LINK_PEER_POLICY": ""}):
        assert Path(load(None, env).policy_path) == beside


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another one is given, which may be empty."""
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    assert load().credentials == load(None, dict(os.environ)).credentials == load(None, ENV).credentials
    with pytest.raises(LinkPeerError):
        load(None, {})


# endpoints


def endpoint(url: str) -> tuple[str, str]:
    return Settings("", "cn-a", "", "", "", {"ecs": url}, Credentials("a", "b")).endpoint("ecs")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:80", ("http", "127.0.0.1:80")),
        ("https://ecs.example.com/", ("https", "ecs.example.com")),
        ("ecs.example.com", ("https", "ecs.example.com")),
        ("", ("https", "")),
    ],
)
def test_the_scheme_of_an_endpoint_decides(url: str, found: tuple[str, str]) -> None:
    """https without one. An empty host means the default endpoint."""
    assert endpoint(url) == found


def test_a_service_without_an_endpoint_has_the_default_one() -> None:
    assert load(None, ENV).endpoints == {}
    assert load(None, ENV).endpoint("ecs") == ("https", "")


def test_one_setting_points_every_service_at_one_cloud() -> None:
    """A service's own endpoint comes first."""
    assert SERVICES == ("ecs", "sts", "sls", "mns", "fc", "eventbridge", "ram", "actiontrail")
    everything = {"LINK_PEER_CLOUD": "http://127.0.0.1:1"}
    assert load(None, {**ENV, **everything}).endpoints == dict.fromkeys(SERVICES, "http://127.0.0.1:1")
    for service in SERVICES:
        own = {f"LINK_PEER_{service.upper()}_ENDPOINT": "http://own"}
        found = load(None, {**ENV, **everything, **own}).endpoints
        assert found == {**dict.fromkeys(SERVICES, "http://127.0.0.1:1"), service: "http://own"}
        assert load(None, {**ENV, **own}).endpoints == {service: "http://own"}


# the limit of calls


@pytest.mark.parametrize(("text", "number"), [("", None), ("1", 1), ("2000", 2000)])
def test_the_calls_of_a_minute_are_a_number(text: str, number: int | None) -> None:
    """Not known, if not set."""
    assert load(env={**ENV, "LINK_PEER_CALLS_PER_MINUTE": text}).calls_per_minute == number
    assert load(env=ENV).calls_per_minute is None


@pytest.mark.parametrize("text", ["0", "-1", "many", "1e3", "1 000", "²"])
def test_another_limit_is_refused_at_start(text: str) -> None:
    with pytest.raises(LinkPeerError, match="LINK_PEER_CALLS_PER_MINUTE"):
        load(env={**ENV, "LINK_PEER_CALLS_PER_MINUTE": text})
