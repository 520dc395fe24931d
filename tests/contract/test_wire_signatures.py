"""Every scheme of signature: what official clients sign is accepted, and nothing else is.

Requests are captured as the clients send them, then sent again with one thing changed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from alibabacloud_credentials.client import Client as Credentials
from alibabacloud_credentials.models import Config as CredentialsConfig
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_ecs20140526.models import DescribeInstancesRequest, DescribeInstancesRequestTag
from alibabacloud_eventbridge20200401.client import Client as EventBridge
from alibabacloud_eventbridge20200401.models import PutEventsRequest, PutEventsRequestEventList
from alibabacloud_fc20230330.client import Client as Fc
from alibabacloud_fc20230330.models import ListFunctionsRequest
from alibabacloud_sts20150401.client import Client as Sts
from alibabacloud_tea_openapi.models import Config
from aliyun.log import GetHistogramsRequest, LogClient, LogItem, PutLogsRequest
from mns.account import Account
from mns.queue import Message
from pytest_mock import MockerFixture

from local import signatures
from local.cloud import LocalCloud
from local.http import Request
from local.identity import Key

HOME = "1000000000000001"
ROLE = f"acs:ram::{HOME}:role/link-peer-fc"


def config(cloud: LocalCloud, key: Key) -> Config:
    return Config(
        access_key_id=key.access_key_id,
        access_key_secret=key.secret,
        security_token=key.token,
        region_id=cloud.region,
        endpoint="127.0.0.1:8080",
        protocol="http",
    )


def ecs(cloud: LocalCloud, key: Key) -> None:
    tag = DescribeInstancesRequestTag(key="a b+c/~*", value="是&=%2F")
    Ecs(config(cloud, key)).describe_instances(DescribeInstancesRequest(region_id=cloud.region, tag=[tag]))


def sts(cloud: LocalCloud, key: Key) -> None:
    Sts(config(cloud, key)).get_caller_identity()


def eventbridge(cloud: LocalCloud, key: Key) -> None:
    event = PutEventsRequestEventList(id="1", source="my.app", spec_version="1.0", type="my:Type", data={"a": "ü &+"})
    EventBridge(config(cloud, key)).put_events(PutEventsRequest("default", [event]))


def fc(cloud: LocalCloud, key: Key) -> None:
    Fc(config(cloud, key)).list_functions(ListFunctionsRequest(prefix="a b"))


def mns(cloud: LocalCloud, key: Key) -> None:
    account = Account(f"http://{HOME}.mns.cn-qingdao.aliyuncs.com", key.access_key_id, key.secret, key.token or "")
    account.get_queue("link-peer-requests").send_message(Message("<&> ü"))


def sls(version: str) -> Callable[[LocalCloud, Key], None]:
    def put(cloud: LocalCloud, key: Key) -> None:
        client = LogClient(
            "cn-qingdao.log.aliyuncs.com",
            key.access_key_id,
            key.secret,
            securityToken=key.token,
            source="10.0.0.9",
            auth_version=version,
            region=cloud.region,
        )
        client.put_logs(PutLogsRequest("link-peer-audit", "decisions", "", "", [LogItem(contents=[("outcome", "ü")])]))
        client.get_histograms(GetHistogramsRequest("link-peer-audit", "decisions", 1, 2, "", '"a&b = ü+%2F"'))

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
    # service: wrong secret, unknown key, unsigned, malformed, too old, expired token
    "ecs": (
        (400, "SignatureDoesNotMatch"),
        (404, "InvalidAccessKeyId.NotFound"),
        (400, "MissingAccessKeyId"),
        (400, "IncompleteSignature"),
        (400, "InvalidTimeStamp.Expired"),
        (400, "InvalidSecurityToken.Expired"),
    ),
    "fc": (
        (403, "SignatureNotMatch"),
        (403, "InvalidAccessKeyID"),
        (400, "MissingRequiredHeader"),
        (400, "IncompleteSignature"),
        (400, "InvalidTimeStamp.Expired"),
        (400, "InvalidSecurityToken.Expired"),
    ),
    "mns": (
        (403, "SignatureDoesNotMatch"),
        (403, "InvalidAccessKeyId"),
        (400, "MissingAuthorizationHeader"),
        (400, "InvalidAuthorizationHeader"),
        (408, "TimeExpired"),
        (403, "SecurityTokenExpired"),
    ),
    "sls": (
        (401, "SignatureNotMatch"),
        (401, "Unauthorized"),
        (401, "Unauthorized"),
        (400, "ParameterInvalid"),
        (400, "RequestTimeExpired"),
        (401, "SecurityTokenExpired"),
    ),
}


class Captured:
    """The requests that clients sent to a cloud, each answered well; `again` sends one once more."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.requests: list[Request] = []
        self.handle = cloud.handle

        def handle(request: Request) -> Any:
            self.requests.append(request)
            return self.handle(request)

        cloud.handle = handle  # type: ignore[method-assign]

    def by(self, scheme: str, key: Key | None = None) -> Request:
        """The first request of a scheme, signed by the home account's key or by the one given."""
        SCHEMES[scheme](self.cloud, key or self.key)
        return self.requests[0]

    @property
    def key(self) -> Key:
        return self.cloud.identity.keys[self.cloud.identity.accounts[HOME].access_key_id]

    def temporary(self) -> Key:
        return self.cloud.identity.issue(self.cloud.identity.roles[ROLE], "test", self.cloud.clock.now() + 900)

    def again(self, request: Request, **headers: str | None) -> tuple[int, str]:
        """Status and code of the answer, after headers (`x_acs_date`) were replaced or, with None, taken away."""
        changed = dict(request.headers)
        for name, value in headers.items():
            if value is None:
                changed.pop(name.replace("_", "-"))
            else:
                changed[name.replace("_", "-")] = value
        return code_of(self.handle(replace(request, headers=changed)))


def code_of(answer: Any) -> tuple[int, str]:
    if answer.body.startswith(b"<"):
        return answer.status, ElementTree.fromstring(answer.body).findtext("{*}Code") or ""  # noqa: S314
    body = json.loads(answer.body or b"{}")
    return answer.status, body.get("Code") or body.get("errorCode") or ""


@pytest.fixture(name="captured")
def _captured(local_cloud: LocalCloud) -> Captured:
    return Captured(local_cloud)


@pytest.fixture(name="each", params=SCHEMES)
def _each(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def refused(scheme: str, case: int) -> tuple[int, str]:
    family = scheme.partition(" ")[0]
    return REFUSED[family if family in REFUSED else "ecs"][case]


def test_official_clients_are_accepted(captured: Captured, each: str) -> None:
    """What the client signs is what is computed here, odd characters included."""
    captured.by(each)
    assert captured.requests


def test_temporary_keys_are_accepted(captured: Captured, each: str) -> None:
    """Keys of an assumed role work with their token in every scheme."""
    captured.by(each, captured.temporary())


def test_a_wrong_secret_is_refused(captured: Captured, each: str) -> None:
    """A signature made with another secret is refused in the service's own words."""
    request = captured.by(each)
    key_id = captured.key.access_key_id
    captured.cloud.identity.keys[key_id] = replace(captured.key, secret="another")
    assert captured.again(request) == refused(each, 0)


def test_an_unknown_key_is_refused(captured: Captured, each: str) -> None:
    """A key that does not exist is told apart from a wrong signature."""
    request = captured.by(each)
    authorization = request.headers["authorization"].replace(captured.key.access_key_id, "LTAI5tnobody")
    assert captured.again(request, authorization=authorization) == refused(each, 1)


def test_an_unsigned_request_is_refused(captured: Captured, each: str) -> None:
    """Nothing is answered without a signature."""
    assert captured.again(captured.by(each), authorization=None) == refused(each, 2)


def test_a_malformed_authorization_is_refused(captured: Captured, each: str) -> None:
    """An authorization that cannot be read is refused as such."""
    request = captured.by(each)
    scheme = request.headers["authorization"].partition(" ")[0]
    assert captured.again(request, authorization=f"{scheme} nonsense") == refused(each, 3)


def test_an_old_request_is_refused(captured: Captured, each: str, mocker: MockerFixture) -> None:
    """A request of more than 15 minutes ago is refused, though its signature is good."""
    request = captured.by(each)
    mocker.patch.object(signatures.time, "time", return_value=time.time() + 16 * 60)
    assert captured.again(request) == refused(each, 4)


def test_an_expired_token_is_refused(captured: Captured, each: str) -> None:
    """Temporary keys end at their time."""
    request = captured.by(each, captured.temporary())
    captured.cloud.clock.sleep(900)
    assert captured.again(request) == refused(each, 5)


@pytest.mark.parametrize("change", ["method", "path", "query", "body"])
def test_a_changed_request_is_refused(captured: Captured, each: str, change: str) -> None:
    """Method, path, query and body all stand under the signature."""
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
    assert captured.again(request)[0] < 300


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
    """The headers that a scheme signs cannot be changed on the way."""
    request = captured.by(scheme)
    other = {"date": "Wed, 25 Nov 2026 00:00:00 GMT", "x_acs_date": "2026-11-25T00:00:00Z"}.get(header, "x.y")
    assert captured.again(request, **{header: other})[0] >= 400


def test_a_header_added_after_signing_is_refused(captured: Captured) -> None:
    """Every x-acs-* header must be signed: none can be slipped in."""
    request = captured.by("ecs")
    assert captured.again(request, **{"x_acs_security_token": "token"}) == (400, "IncompleteSignature")


def test_temporary_keys_need_their_token(captured: Captured) -> None:
    """A temporary key without a token, with a made-up one, or with that of another key is refused."""
    key, other = captured.temporary(), captured.temporary()
    expected = {
        None: "MissingSecurityToken",
        "made-up": "InvalidSecurityToken.Malformed",
        other.token: "InvalidSecurityToken.MismatchWithAccessKey",
    }
    for token, code in expected.items():
        with pytest.raises(Exception, match=code):
            ecs(captured.cloud, replace(key, token=token))


def test_the_refusal_shows_the_string_to_sign(captured: Captured) -> None:
    """`server string to sign is:` is what client libraries look for to tell a wrong secret from a wrong string."""
    with pytest.raises(Exception, match="server string to sign is:ACS3-HMAC-SHA256\n[0-9a-f]{64}"):
        ecs(captured.cloud, replace(captured.key, secret="another"))


# The older RPC signature, in the parameters


def test_the_credentials_library_assumes_a_role(captured: Captured) -> None:
    """Its provider signs in the older way, by parameters of a GET."""
    home, clock = captured.key, captured.cloud.clock
    clock.sleep(time.time() - clock.now())  # the library holds Expiration against the machine's time
    provider = Credentials(
        CredentialsConfig(
            type="ram_role_arn",
            access_key_id=home.access_key_id,
            access_key_secret=home.secret,
            role_arn="acs:ram::1000000000000002:role/link-peer",
            role_session_name="link-1",
            external_id="link-peer-local-example",
        )
    )
    assert provider.get_credential().access_key_id.startswith("STS.")
    [request] = captured.requests
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
        "SignatureNonce": "n",
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
    return Request("POST", "/", "", form, sent.encode())


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("digest", ["HMAC-SHA1", "HMAC-SHA256"])
def test_both_digests_and_both_methods(captured: Captured, method: str, digest: str) -> None:
    """Parameters are read from the query and from a form, and signed with either digest."""
    answer = captured.handle(legacy(captured.key, method, digest, Odd="a b*~'é/"))
    assert json.loads(answer.body)["AccountId"] == HOME


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SignatureMethod": "HMAC-MD5"}, "InvalidParameter.SignatureMethod"),
        ({"Timestamp": "yesterday"}, "InvalidTimeStamp.Format"),
        ({"Timestamp": "2020-01-01T00:00:00Z"}, "InvalidTimeStamp.Expired"),
    ],
)
def test_bad_legacy_requests(captured: Captured, changes: dict[str, str], code: str) -> None:
    """An unknown digest and a bad or old time stamp are refused by name."""
    request = legacy(captured.key, digest=changes.get("SignatureMethod", "HMAC-SHA1"), **changes)
    assert code_of(captured.handle(request)) == (400, code)


def test_a_wrong_legacy_secret(captured: Captured) -> None:
    """The message ends with the exact string to sign, so that a client can compare it with its own."""
    answer = captured.handle(legacy(replace(captured.key, secret="another")))
    message = json.loads(answer.body)["Message"]
    text = message.partition("server string to sign is:")[2]
    assert text.startswith("GET&%2F&AccessKeyId%3D")
    assert ":" not in text


def test_legacy_temporary_keys(captured: Captured) -> None:
    """SecurityToken travels as a parameter there, and is needed there too."""
    key = captured.temporary()
    assert captured.handle(legacy(key)).status == 200
    assert code_of(captured.handle(legacy(replace(key, token=None)))) == (400, "MissingSecurityToken")


# Other spellings


def test_sls_with_sha256(captured: Captured) -> None:
    """`x-log-signaturemethod: hmac-sha256` signs the same text with SHA-256 [src sls20201230]."""
    date = formatdate(usegmt=True)
    headers = {"x-log-apiversion": "0.6.0", "x-log-signaturemethod": "hmac-sha256"}
    text = f"GET\n\n\n{date}\nx-log-apiversion:0.6.0\nx-log-signaturemethod:hmac-sha256\n/?offset=0&size=10"
    signed = base64.b64encode(hmac.new(captured.key.secret.encode(), text.encode(), "sha256").digest()).decode()
    request = Request(
        "GET",
        "/",
        "size=10&offset=0",
        {
            **headers,
            "host": "cn-qingdao.log.aliyuncs.com",
            "date": date,
            "authorization": f"LOG {captured.key.access_key_id}:{signed}",
        },
    )
    assert captured.again(request) == (200, "")
    assert captured.again(request, x_log_signaturemethod="hmac-md5") == (400, "ParameterInvalid")


def test_fc_of_the_first_generation(captured: Captured) -> None:
    """`FC <key>:<signature>` is HMAC-SHA256 over method, md5, type, date, x-fc-* headers and path."""
    date = formatdate(usegmt=True)
    path = "/2021-04-06/services/link-peer/functions"
    text = f"GET\n\n\n{date}\nx-fc-account-id:{HOME}\n{path}"
    signed = base64.b64encode(hmac.new(captured.key.secret.encode(), text.encode(), "sha256").digest()).decode()
    headers = {"host": "127.0.0.1", "date": date, "x-fc-account-id": HOME}
    request = Request("GET", path, "", {**headers, "authorization": f"FC {captured.key.access_key_id}:{signed}"})
    assert captured.again(request) == (200, "")
    assert captured.again(request, x_fc_account_id="1") == (403, "SignatureNotMatch")


@pytest.mark.parametrize("form", ["hex", "raw"])
def test_both_content_md5_of_mns(captured: Captured, form: str) -> None:
    """Base64 of the hex digest (Python) or of the digest itself (others) is a good Content-MD5; another is not."""
    request = captured.by("mns")
    md5 = hashlib.md5(request.body, usedforsecurity=False)
    value = base64.b64encode(md5.hexdigest().encode() if form == "hex" else md5.digest()).decode()
    headers = {**request.headers, "content-md5": value}
    text = "\n".join(
        [request.method, value, headers["content-type"], headers["date"], "x-mns-version:2015-06-06", request.path]
    )
    signed = base64.b64encode(hmac.new(captured.key.secret.encode(), text.encode(), "sha1").digest()).decode()
    request = replace(request, headers={**headers, "authorization": f"MNS {captured.key.access_key_id}:{signed}"})
    assert captured.again(request) == (201, "")
    assert captured.again(replace(request, body=request.body + b" ")) == (400, "InvalidDegist")
