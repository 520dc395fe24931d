"""Settings: what the environment says, what the platform's context says, and which of them wins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import link_peer
import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.settings import SERVICES, Credentials, Settings, load

GIVEN = {"access_key_id": "STS.context", "access_key_secret": "secret-context", "security_token": "token-context"}
KEY, SECRET, TOKEN = (f"ALIBABA_CLOUD_{name}" for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"))
REGION = {"LINK_PEER_REGION": "cn-qingdao"}
ENV = {**REGION, KEY: "LTAI.env", SECRET: "secret-env", TOKEN: "token-env"}


def context(credentials: Any = None, **fields: Any) -> Any:
    return SimpleNamespace(credentials=credentials, **fields)


# credentials

OF_CONTEXT, OF_ENV = (
    Credentials("STS.context", "secret-context", "token-context"),
    Credentials("LTAI.env", "secret-env"),
)


@pytest.mark.parametrize("form", [dict, lambda keys: SimpleNamespace(**keys)], ids=["mapping", "object"])
@pytest.mark.parametrize(
    ("changed", "env", "credentials"),
    [
        ({}, REGION, OF_CONTEXT),
        ({}, ENV, OF_CONTEXT),
        ({"security_token": None}, REGION, Credentials("STS.context", "secret-context")),
        ({"security_token": ""}, REGION, Credentials("STS.context", "secret-context")),
        ({"access_key_id": ""}, {**ENV, TOKEN: ""}, OF_ENV),
        ({"access_key_secret": None}, {**ENV, TOKEN: ""}, OF_ENV),
        ({"access_key_id": ""}, REGION, None),
        ({"access_key_secret": None}, {**REGION, KEY: "LTAI.env"}, None),
        ({"access_key_secret": ""}, {**REGION, SECRET: "secret-env"}, None),
    ],
)
def test_the_keys_of_the_context_come_first(
    form: Any, changed: dict[str, str | None], env: dict[str, str], credentials: Credentials | None
) -> None:
    """All three together: python3.10 passes them there and not in the environment, and a warm instance may outlive the
    keys that it started with. Half of a key does not count. An empty token is none: it would be sent and refused.
    Without keys the error says what to set."""
    keys = {name: value for name, value in {**GIVEN, **changed}.items() if value is not None}
    if credentials:
        assert load(context(form(keys)), env).credentials == credentials
    else:
        with pytest.raises(LinkPeerError, match="ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
            load(context(form(keys)), env)


@pytest.mark.parametrize("context_value", [None, SimpleNamespace(), context()])
def test_without_a_context_the_keys_are_those_of_the_environment(context_value: Any) -> None:
    assert load(context_value, ENV).credentials == Credentials("LTAI.env", "secret-env", "token-env")
    with pytest.raises(LinkPeerError, match="no credentials"):
        load(context_value, REGION)


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


@pytest.mark.parametrize(
    "context_value", [None, context(GIVEN), context(GIVEN, region=None), context(GIVEN, region="")]
)
def test_without_a_region_nothing_starts(context_value: Any) -> None:
    with pytest.raises(LinkPeerError, match="LINK_PEER_REGION is not set"):
        load(context_value, {**ENV, "LINK_PEER_REGION": ""})


def test_settings_come_from_their_variables() -> None:
    """What is not set is empty."""
    audit = {"LINK_PEER_AUDIT_PROJECT": "p", "LINK_PEER_AUDIT_LOGSTORE": "l"}
    variables = {"LINK_PEER_QUEUE": "q", "FC_ACCOUNT_ID": "1", "LINK_PEER_POLICY": "/policy"}
    settings = load(None, {**ENV, **audit, **variables})
    assert (settings.audit_project, settings.audit_logstore, settings.queue) == ("p", "l", "q")
    assert settings.operator_logstore == "l-operators"
    assert load(None, {**ENV, **audit, "LINK_PEER_OPERATOR_LOGSTORE": "o"}).operator_logstore == "o"
    assert (settings.account, settings.policy_path) == ("1", "/policy")
    settings = load(None, ENV)
    assert (settings.audit_project, settings.audit_logstore, settings.queue, settings.account) == ("", "", "", "")
    assert settings.operator_logstore == ""


def test_the_policy_is_beside_the_code_unless_it_is_set() -> None:
    """Beside the folder of the library, which is where the package has it."""
    beside = Path(link_peer.__file__).parents[1] / "policy.yaml"
    for env in (ENV, {**ENV, "LINK_PEER_POLICY": ""}):
        assert Path(load(None, env).policy_path) == beside


# endpoints


def endpoint(url: str) -> tuple[str, str]:
    return Settings("", "cn-a", "", "", "", {"ecs": url}, Credentials("a", "b")).endpoint("ecs")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:80", ("http", "127.0.0.1:80")),
        ("https://ecs.example.com/", ("https", "ecs.example.com")),
        ("ecs.example.com", ("https", "ecs.example.com")),
        ("", ("https", "")),
    ],
)
def test_the_scheme_of_an_endpoint_decides(url: str, address: tuple[str, str]) -> None:
    """https without one. An empty host means the default endpoint."""
    assert endpoint(url) == address


def test_one_setting_points_every_service_at_one_cloud() -> None:
    """A service's own endpoint comes first."""
    assert SERVICES == ("ecs", "sts", "sls", "mns", "fc", "eventbridge", "ram", "actiontrail", "mns_open")
    assert (load(None, ENV).endpoints, load(None, ENV).endpoint("ecs")) == ({}, ("https", ""))
    cloud_variables = {"LINK_PEER_CLOUD": "http://127.0.0.1:1"}
    assert load(None, {**ENV, **cloud_variables}).endpoints == dict.fromkeys(SERVICES, "http://127.0.0.1:1")
    for service in SERVICES:
        own_endpoints = {f"LINK_PEER_{service.upper()}_ENDPOINT": "http://own"}
        endpoints = load(None, {**ENV, **cloud_variables, **own_endpoints}).endpoints
        assert endpoints == {**dict.fromkeys(SERVICES, "http://127.0.0.1:1"), service: "http://own"}
        assert load(None, {**ENV, **own_endpoints}).endpoints == {service: "http://own"}


# the limit of calls


@pytest.mark.parametrize(("text", "number"), [("", None), ("1", 1), ("2000", 2000)])
def test_the_calls_of_a_minute_are_a_number(text: str, number: int | None) -> None:
    """Not known, if not set."""
    assert load(env={**ENV, "LINK_PEER_CALLS_PER_MINUTE": text}).calls_per_minute == number
    assert load(env=ENV).calls_per_minute is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("LINK_PEER_CALLS_PER_MINUTE", text) for text in ("0", "-1", "many", "1e3", "1 000", "²")),
        *(("LINK_PEER_TAG_PREFIX", text) for text in ("Acme", "acme-", "1a", "a" * 17)),
    ],
)
def test_another_value_is_refused_at_start(name: str, text: str) -> None:
    """Another limit, or what no tag key may begin with."""
    with pytest.raises(LinkPeerError, match=name):
        load(env={**ENV, name: text})
