"""Every signature scheme: what official clients sign is accepted, and nothing else.

Requests are captured as the clients send them, then sent again with one thing changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_ecs20140526.models import DescribeInstancesRequestTag
from alibabacloud_eventbridge20200401.client import Client as EventBridge
from alibabacloud_eventbridge20200401.models import PutEventsRequest, PutEventsRequestEventList
from alibabacloud_fc20230330.client import Client as Fc
from alibabacloud_sts20150401.client import Client as Sts
from aliyun.log import LogItem, PutLogsRequest
from mns.queue import Message
from msgspec.structs import replace
from pytest_mock import MockerFixture

from aliyun_local.cloud import LocalCloud
from aliyun_local.core import signatures
from aliyun_local.core.http import Request
from aliyun_local.core.identity import Key
from clients import HOME, ask, code_of, config, key_of, logs_of, queues_of

ROLE = f"acs:ram::{HOME}:role/functions"


def ecs(cloud: LocalCloud, key: Key) -> None:
    tag = DescribeInstancesRequestTag(key="a b+c/~*", value="是&=%2F")
    ask(Ecs(config(key, "127.0.0.1:8080")), "DescribeInstances", region_id=cloud.region, tag=[tag])


def sts(cloud: LocalCloud, key: Key) -> None:
    Sts(config(key, "127.0.0.1:8080")).get_caller_identity()


def eventbridge(cloud: LocalCloud, key: Key) -> None:
    event = PutEventsRequestEventList(id="1", source="my.app", spec_version="1.0", type="my:Type", data={"a": "ü &+"})
    EventBridge(config(key, "127.0.0.1:8080")).put_events(PutEventsRequest("default", [event]))


def fc(cloud: LocalCloud, key: Key) -> None:
    ask(Fc(config(key, "127.0.0.1:8080")), "ListFunctions", prefix="a b")


def mns(cloud: LocalCloud, key: Key) -> None:
    queues_of(key).get_queue("requests").send_message(Message("<&> ü"))


def sls(version: str) -> Callable[[LocalCloud, Key], None]:
    def put(cloud: LocalCloud, key: Key) -> None:
        client = logs_of(key, auth_version=version, region=cloud.region)
        row = LogItem(int(cloud.clock.now()), contents=[("outcome", "ü")])
        client.put_logs(PutLogsRequest(f"logs-{HOME}", "events", "", "", [row]))
        client._get_logs_v2_enabled = False  # the query is in the target, which is signed
        client.get_log(f"logs-{HOME}", "events", 1, 2, query='"a&b = ü+%2F"')

    return put


SCHEMES = {
    "ecs": ecs,
    "sts": sts,
    "eventbridge": eventbridge,
    "fc": fc,
    "mns": mns,
    "sls v1": sls("v1"),
    "sls v4": sls("v4"),
}
REFUSED = {
    "ecs": {
        "wrong secret": (400, "SignatureDoesNotMatch"),
        "unknown key": (404, "InvalidAccessKeyId.NotFound"),
        "unsigned": (400, "MissingAccessKeyId"),
        "malformed": (400, "IncompleteSignature"),
        "too old": (400, "InvalidTimeStamp.Expired"),
        "expired token": (400, "InvalidSecurityToken.Expired"),
    },
    "fc": {
        "wrong secret": (403, "SignatureNotMatch"),
        "unknown key": (403, "InvalidAccessKeyID"),
        "unsigned": (400, "MissingRequiredHeader"),
        "malformed": (400, "IncompleteSignature"),
        "too old": (400, "InvalidTimeStamp.Expired"),
        "expired token": (400, "InvalidSecurityToken.Expired"),
    },
    "mns": {
        "wrong secret": (403, "SignatureDoesNotMatch"),
        "unknown key": (403, "InvalidAccessKeyId"),
        "unsigned": (400, "MissingAuthorizationHeader"),
        "malformed": (400, "InvalidAuthorizationHeader"),
        "too old": (408, "TimeExpired"),
        "expired token": (403, "SecurityTokenExpired"),
    },
    "sls": {
        "wrong secret": (401, "SignatureNotMatch"),
        "unknown key": (401, "Unauthorized"),
        "unsigned": (401, "Unauthorized"),
        "malformed": (400, "ParameterInvalid"),
        "too old": (400, "RequestTimeExpired"),
        "expired token": (401, "SecurityTokenExpired"),
    },
}
"""What each service answers, ECS's answer being that of every service of the RPC style."""


class Captured:
    """The requests that clients sent to a cloud; `again` sends one once more."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.requests: list[Request] = []
        self.handle = cloud.handle

        def handle(request: Request) -> Any:
            self.requests.append(request)
            return self.handle(request)

        cloud.handle = handle  # type: ignore[method-assign]

    def by(self, scheme: str, key: Key | None = None) -> Request:
        """The first request of a scheme's client, signed by the home account's key or the one given."""
        self.requests.clear()
        SCHEMES[scheme](self.cloud, key or self.key)
        return self.requests[0]

    @property
    def key(self) -> Key:
        return key_of(self.cloud)

    def temporary(self) -> Key:
        self.cloud.identity.allow_only(ROLE, ["*"])
        return self.cloud.identity.issue(self.cloud.identity.roles[ROLE], "test", self.cloud.clock.now() + 900)

    def again(self, request: Request, **headers: str | None) -> tuple[int, str]:
        """Status and code of the answer after replacing headers (`x_acs_date`), or removing those that are None."""
        changed = dict(request.headers)
        for name, value in headers.items():
            if value is None:
                changed.pop(name.replace("_", "-"))
            else:
                changed[name.replace("_", "-")] = value
        return code_of(self.handle(replace(request, headers=changed)))


@pytest.fixture(name="captured")
def _captured(local_cloud: LocalCloud) -> Captured:
    return Captured(local_cloud)


@pytest.fixture(name="each", params=SCHEMES)
def _each(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refused(scheme: str, case: str) -> tuple[int, str]:
    family = scheme.partition(" ")[0]
    return REFUSED[family if family in REFUSED else "ecs"][case]


def test_official_clients_are_accepted(captured: Captured, each: str) -> None:
    """The computed signature equals the client's, special characters included; so it does with the token of a role's
    keys."""
    captured.by(each)
    captured.by(each, captured.temporary())


def test_each_wrong_signature_has_its_own_answer(captured: Captured, each: str, mocker: MockerFixture) -> None:
    """A request that is 16 minutes old is refused although its signature is valid, and temporary keys expire."""
    request, temporary = captured.by(each), captured.by(each, captured.temporary())
    signed = request.headers["authorization"]
    authorizations = {
        "unknown key": signed.replace(captured.key.access_key_id, "LTAI5tnobody"),
        "unsigned": None,
        "malformed": f"{signed.partition(' ')[0]} nonsense",
    }
    for case, authorization in authorizations.items():
        assert captured.again(request, authorization=authorization) == refused(each, case), case
    keys, key = captured.cloud.identity.keys, captured.key
    keys[key.access_key_id] = replace(key, secret="another")
    assert captured.again(request) == refused(each, "wrong secret")
    keys[key.access_key_id] = key
    captured.cloud.clock.sleep(900)
    assert captured.again(temporary) == refused(each, "expired token")
    mocker.patch.object(signatures.time, "time", return_value=time.time() + 16 * 60)
    assert captured.again(request) == refused(each, "too old")


@pytest.mark.parametrize("change", ["method", "path", "query", "body"])
def test_a_changed_request_is_refused(captured: Captured, each: str, change: str) -> None:
    """The signature covers method, path, query and body."""
    request = captured.by(each)
    changed = {
        "method": replace(request, method="PATCH"),
        "path": replace(request, path=f"{request.path}x"),
        "query": replace(request, query=f"{request.query}&x=1".lstrip("&")),
        "body": replace(request, body=request.body + b"x"),
    }[change]
    status, code = captured.again(changed)
    assert status >= 400
    assert code != ""
    status, code = captured.again(request)
    assert status < 300 or code == "SignatureNonceUsed"  # the unchanged request is valid


@pytest.mark.parametrize("scheme", ["ecs", "sts", "eventbridge", "fc"])
def test_a_nonce_is_accepted_once(captured: Captured, scheme: str) -> None:
    """An intercepted ACS3 request cannot be replayed."""
    assert captured.again(captured.by(scheme)) == (400, "SignatureNonceUsed")


@pytest.mark.parametrize(
    ("scheme", "header"),
    [
        ("ecs", "x_acs_action"),
        ("ecs", "x_acs_date"),
        ("ecs", "x_acs_content_sha256"),
        ("ecs", "host"),
        ("mns", "x_mns_version"),
        ("mns", "date"),
        ("mns", "content_type"),
        ("sls v1", "date"),
        ("sls v1", "content_md5"),
        ("sls v1", "x_log_bodyrawsize"),
        ("sls v4", "x_log_date"),
        ("sls v4", "x_log_content_sha256"),
        ("sls v4", "host"),
    ],
)
def test_a_changed_header_is_refused(captured: Captured, scheme: str, header: str) -> None:
    """Headers that a scheme signs cannot be changed on the way."""
    request = captured.by(scheme)
    changed_header = {"date": "Wed, 25 Nov 2026 00:00:00 GMT", "x_acs_date": "2026-11-25T00:00:00Z"}.get(header, "x.y")
    assert captured.again(request, **{header: changed_header})[0] >= 400


def test_a_header_added_after_signing_is_refused(captured: Captured) -> None:
    """Every x-acs-* header must be signed, so none can be added."""
    request = captured.by("ecs")
    assert captured.again(request, x_acs_security_token="token") == (400, "IncompleteSignature")


@pytest.mark.parametrize(
    ("scheme", "authorization"),
    [
        *(("ecs", scheme) for scheme in ("LOG a:b", "MNS a:b", "FC a:b", "acs:a:b", "Bearer a:b")),
        *(("mns", scheme) for scheme in ("LOG a:b", "FC a:b", "ACS3-HMAC-SHA256 a:b")),
        *(("fc", scheme) for scheme in ("LOG a:b", "SLS4-HMAC-SHA256 a:b")),
        ("sls v1", "ACS3-HMAC-SHA256 a:b"),
    ],
)
def test_another_services_scheme_is_refused(captured: Captured, scheme: str, authorization: str) -> None:
    """Each service accepts its own schemes only."""
    assert captured.again(captured.by(scheme), authorization=authorization) == refused(scheme, "malformed")


def test_temporary_keys_need_their_token(captured: Captured) -> None:
    """A temporary key is refused without a token, with a made-up one, or with that of another key."""
    key, second_key = captured.temporary(), captured.temporary()
    expected = {
        None: "MissingSecurityToken",
        "made-up": "InvalidSecurityToken.Malformed",
        second_key.token: "InvalidSecurityToken.MismatchWithAccessKey",
    }
    for token, code in expected.items():
        with pytest.raises(Exception, match=code):
            ecs(captured.cloud, replace(key, token=token))


def test_the_refusal_shows_the_string_to_sign(captured: Captured) -> None:
    """Client libraries look for `server string to sign is:` to distinguish a wrong secret from a wrong string."""
    with pytest.raises(Exception, match=r"server string to sign is:ACS3-HMAC-SHA256\n[0-9a-f]{64}"):
        ecs(captured.cloud, replace(captured.key, secret="another"))
