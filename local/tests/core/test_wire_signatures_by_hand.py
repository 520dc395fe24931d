"""Signatures that no installed client makes, written by hand: RPC signatures in the parameters, and other variants."""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from alibabacloud_credentials.client import Client as Credentials
from alibabacloud_credentials.models import Config as CredentialsConfig
from msgspec.structs import replace
from pytest_mock import MockerFixture

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import Key, Nonces
from clients import HOME, PEER, code_of, key_of


@pytest.fixture(name="key")
def _key(local_cloud: LocalCloud) -> Key:
    """The home account's key."""
    return key_of(local_cloud)


def sign(key: Key, text: str, digest: str) -> str:
    return base64.b64encode(hmac.new(key.secret.encode(), text.encode(), digest).digest()).decode()


# The older RPC signature, in the parameters


def test_the_credentials_library_assumes_a_role(local_cloud: LocalCloud, key: Key, mocker: MockerFixture) -> None:
    """Its provider still uses the older signature, in the parameters of a GET."""
    clock = local_cloud.clock
    clock.sleep(time.time() - clock.now())  # the library compares Expiration with the machine's time
    handle = mocker.spy(local_cloud, "handle")
    provider = Credentials(
        CredentialsConfig(
            type="ram_role_arn",
            access_key_id=key.access_key_id,
            access_key_secret=key.secret,
            role_arn=f"acs:ram::{HOME}:role/reader",
            role_session_name="link-1",
        )
    )
    assert provider.get_credential().access_key_id.startswith("STS.")
    [[[request], _]] = handle.call_args_list
    assert "authorization" not in request.headers
    assert "SignatureMethod=HMAC-SHA1" in request.query


def legacy(key: Key, method: str = "GET", digest: str = "HMAC-SHA1", **params: str) -> Request:
    """A request as older clients and command lines sign it."""
    params = {
        "Action": "GetCallerIdentity",
        "Version": "2015-04-01",
        "Format": "JSON",
        "AccessKeyId": key.access_key_id,
        "SignatureMethod": digest,
        "SignatureNonce": uuid.uuid4().hex,
        "SignatureVersion": "1.0",
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **({"SecurityToken": key.token} if key.token else {}),
        **params,
    }
    query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(params.items()))
    text = f"{method}&%2F&{quote(query, safe='~')}"
    kind = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}.get(digest, "md5")
    signature = base64.b64encode(hmac.new(f"{key.secret}&".encode(), text.encode(), kind).digest()).decode()
    sent = urlencode({**params, "Signature": signature})
    if method == "GET":
        return Request("GET", "/", sent, {"host": "sts.aliyuncs.com"})
    form = {"host": "sts.aliyuncs.com", "content-type": "application/x-www-form-urlencoded"}
    return Request(method, "/", "", form, sent.encode())


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("digest", ["HMAC-SHA1", "HMAC-SHA256"])
def test_both_digests_and_both_methods(local_cloud: LocalCloud, key: Key, method: str, digest: str) -> None:
    """Parameters are read from the query or from a form, and signed with either digest."""
    answer = local_cloud.handle(legacy(key, method, digest, Odd="a b*~'é/"))
    assert json.loads(answer.body)["AccountId"] == HOME


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SignatureMethod": "HMAC-MD5"}, "InvalidSignatureMethod"),
        ({"SignatureVersion": "2.0"}, "InvalidSignatureVersion"),
        *(({name: ""}, f"Missing{name}") for name in ("AccessKeyId", "SignatureMethod", "SignatureVersion")),
        *(({name: ""}, f"Missing{name}") for name in ("SignatureNonce", "Timestamp")),
        ({"Timestamp": "yesterday"}, "InvalidTimeStamp.Format"),
        ({"Timestamp": "2020-01-01T00:00:00Z"}, "InvalidTimeStamp.Expired"),
    ],
)
def test_invalid_legacy_requests_are_refused(
    local_cloud: LocalCloud, key: Key, changes: dict[str, str], code: str
) -> None:
    """Unknown digests and versions, invalid or old time stamps and missing parameters each have their own error."""
    request = legacy(key, digest=changes.get("SignatureMethod", "HMAC-SHA1"), **changes)
    assert code_of(local_cloud.handle(request)) == (400, code)


def test_a_nonce_is_accepted_once(local_cloud: LocalCloud, key: Key) -> None:
    """A repeated request is refused; another key may use the same nonce."""
    request = legacy(key, SignatureNonce="n")
    assert local_cloud.handle(request).status == 200
    assert code_of(local_cloud.handle(request)) == (400, "SignatureNonceUsed")
    peer_key = key_of(local_cloud, PEER)
    assert local_cloud.handle(legacy(peer_key, SignatureNonce="n")).status == 200


def test_a_refused_request_has_not_used_its_nonce(local_cloud: LocalCloud, key: Key) -> None:
    """Otherwise anyone without the secret could use up another's nonces."""
    assert code_of(local_cloud.handle(legacy(replace(key, secret="another"), SignatureNonce="n")))[0] == 400
    assert local_cloud.handle(legacy(key, SignatureNonce="n")).status == 200


def test_nonces_are_forgotten_when_their_time_stamps_are_too_old() -> None:
    """A time stamp is valid for at most half an hour."""
    nonces = Nonces()
    assert nonces.use("k", "n", 1_000.0)
    assert not nonces.use("k", "n", 2_800.0)
    assert nonces.use("k", "n", 2_801.0)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_get_and_post_are_accepted(local_cloud: LocalCloud, key: Key, method: str) -> None:
    """Other methods are refused before the signature is verified."""
    assert code_of(local_cloud.handle(legacy(key, method))) == (400, "UnsupportedHTTPMethod")


def test_legacy_temporary_keys_need_their_token(local_cloud: LocalCloud, key: Key) -> None:
    """SecurityToken is a parameter there."""
    role = local_cloud.identity.roles[f"acs:ram::{HOME}:role/functions"]
    temporary = local_cloud.identity.issue(role, "test", local_cloud.clock.now() + 900)
    assert local_cloud.handle(legacy(temporary)).status == 200
    assert code_of(local_cloud.handle(legacy(replace(temporary, token=None)))) == (400, "MissingSecurityToken")


# Other variants


@pytest.mark.parametrize(
    ("method", "digest", "expected"),
    [
        ("hmac-sha1", "sha1", (200, "")),
        ("hmac-sha256", "sha256", (200, "")),
        ("hmac-sha256", "sha1", (401, "SignatureNotMatch")),
        ("hmac-md5", "md5", (400, "ParameterInvalid")),
    ],
)
def test_digests_of_sls(local_cloud: LocalCloud, key: Key, method: str, digest: str, expected: tuple[int, str]) -> None:
    """`x-log-signaturemethod` selects the digest, over the same text [src sls20201230]."""
    date = formatdate(usegmt=True)
    text = f"GET\n\n\n{date}\nx-log-apiversion:0.6.0\nx-log-signaturemethod:{method}\n/?offset=0&size=10"
    headers = {
        "host": "cn-qingdao.log.aliyuncs.com",
        "date": date,
        "x-log-apiversion": "0.6.0",
        "x-log-signaturemethod": method,
        "authorization": f"LOG {key.access_key_id}:{sign(key, text, digest)}",
    }
    assert code_of(local_cloud.handle(Request("GET", "/", "size=10&offset=0", headers))) == expected


@pytest.mark.parametrize(("sent", "expected"), [(HOME, (200, "")), ("1", (403, "SignatureNotMatch"))])
def test_older_clients_of_fc(local_cloud: LocalCloud, key: Key, sent: str, expected: tuple[int, str]) -> None:
    """`FC <key>:<signature>` is HMAC-SHA256 over method, md5, type, date, x-fc-* headers and path."""
    date = formatdate(usegmt=True)
    path = "/2021-04-06/services/default/functions"
    text = f"GET\n\n\n{date}\nx-fc-account-id:{HOME}\n{path}"
    headers = {
        "host": "127.0.0.1",
        "date": date,
        "x-fc-account-id": sent,
        "authorization": f"FC {key.access_key_id}:{sign(key, text, 'sha256')}",
    }
    assert code_of(local_cloud.handle(Request("GET", path, "", headers))) == expected


# A batch of CloudEvents, as older clients of EventBridge send it

EVENT = {
    "id": "e-1",
    "source": "my.app",
    "type": "a:b",
    "aliyuneventbusname": "default",
    "data": {"a": 1},
    "colour": "x",
}


def put(cloud: LocalCloud, key: Key, events: Any, secret: str = "") -> Response:
    date, kind = formatdate(usegmt=True), "application/cloudevents-batch+json; charset=utf-8"
    text = f"POST\n\n{kind}\n{date}\nx-acs-signature-nonce:n\n/openapi/putEvents"
    signer = Key(key.access_key_id, secret or key.secret, key.caller)
    headers = {
        "host": "127.0.0.1",
        "date": date,
        "content-type": kind,
        "x-acs-signature-nonce": "n",
        "x-eventbridge-version": "2015-06-06",
        "authorization": f"acs:{key.access_key_id}:{sign(signer, text, 'sha1')}",
    }
    return cloud.handle(Request("POST", "/openapi/putEvents", "", headers, json.dumps(events).encode()))


def test_a_batch_reaches_the_rules_of_its_bus(local_cloud: LocalCloud, key: Key) -> None:
    """Extension attributes are kept, and the result is at the top level of the answer."""
    events: list[dict[str, Any]] = []
    local_cloud.events.add_rule(HOME, "mine", '{"source":["my.app"]}', events.append)
    answer = put(local_cloud, key, [EVENT, {**EVENT, "id": "e-2", "type": "x" * 65}])
    body = json.loads(answer.body)
    assert (answer.status, body["FailedEntryCount"], body["EntryList"][0]["EventId"]) == (200, 1, "e-1")
    assert [(event["id"], event["data"], event["colour"]) for event in events] == [("e-1", {"a": 1}, "x")]


def test_a_batch_without_a_valid_bus_is_refused(local_cloud: LocalCloud, key: Key) -> None:
    """The error has the form that these clients read: `code`, `message`, `requestId`."""
    answer = put(local_cloud, key, [{**EVENT, "aliyuneventbusname": ""}])
    body = json.loads(answer.body)
    assert (answer.status, body["code"], body.keys()) == (400, "EventBusNameEmpty", {"code", "message", "requestId"})


def test_a_batch_with_a_wrong_secret_is_refused(local_cloud: LocalCloud, key: Key) -> None:
    """The signature is verified before the body is read."""
    answer = put(local_cloud, key, [EVENT], secret="another")
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "SignatureDoesNotMatch")
