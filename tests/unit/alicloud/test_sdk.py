"""The SDKs' errors in our words: what is tried again, what is final, and what none of their messages may repeat."""

from __future__ import annotations

import msgspec
import pytest
from aliyun_local.api import LocalCloud
from darabonba.exceptions import DaraException
from link_peer.alicloud.mns import MnsQueue
from link_peer.alicloud.sdk import CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS, call, client_config, meaning
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Party
from link_peer.domain.request import look_request
from link_peer.runtime.settings import Credentials, Settings

from tests.unit.alicloud.adapter import HOME, REGION, settings


class Refusal(Exception):
    """An error as the SDKs raise it for an answer with a code. Some spell the status in camel case."""

    def __init__(self, code: str, status: int = 400, message: str = "words", **fields: object) -> None:
        super().__init__(message)
        self.code = code
        self.status_code = status
        self.message = message
        self.request_id = "request-1"
        for name, value in fields.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Throttling", 400, Throttled),
        ("Throttling.User", 429, Throttled),
        ("Rejected.Throttling", 400, Throttled),
        ("IncorrectInstanceStatus", 409, Ambiguous),
        ("Strange.Code", 500, Ambiguous),
        ("Strange.Code", 499, CloudError),
        ("ServiceUnavailable", 400, Ambiguous),
        ("InternalError", 400, Ambiguous),
        ("LastTokenProcessing", 403, Ambiguous),
        ("InvalidGressFlow.Malformed", 400, Ambiguous),
        ("Forbidden.RAM", 403, NoAccess),
        ("NoPermission", 403, NoAccess),
        ("InvalidAccessKeyId.NotFound", 404, NoAccess),
        ("InvalidSecurityToken.Expired", 400, NoAccess),
        ("EntityNotExist.Role", 404, NoAccess),
        ("InvalidOperation.SecurityGroupNotAuthorized", 401, NoAccess),
        ("AccessDenied", 403, NoAccess),
        ("SignatureDoesNotMatch", 400, NoAccess),
        ("IncompleteSignature", 400, NoAccess),
        ("AccessDenied.Elsewhere", 403, CloudError),
        ("InvalidInstanceId.NotFound", 404, CloudError),
    ],
)
def test_the_code_decides_what_an_error_means(code: str, status: int, kind: type[Exception]) -> None:
    """With the platform's words and its RequestId, by which a person finds the call in ActionTrail."""
    error_read = meaning(Refusal(code, status))
    assert type(error_read) is kind
    assert str(error_read) == f"{code}: words"
    assert isinstance(error_read, (Transient, CloudError))
    assert error_read.request_id == "request-1"
    if isinstance(error_read, CloudError):
        assert (error_read.code, error_read.message) == (code, "words")


def test_a_status_in_camel_case_is_read() -> None:
    """Of two spellings one may be missing or empty; without both, the code alone decides."""
    assert type(meaning(Refusal("Strange.Code", 0, statusCode=503))) is Ambiguous
    assert type(meaning(Refusal("Strange.Code", 0))) is CloudError
    assert meaning(Refusal("Strange.Code", request_id=None)).request_id == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("no. server string to sign is:GET&%2F&AccessKeyId", "no. "),
        ("see https://ecs.example.com/?Signature=abc", "see https://ecs.example.com/"),
        ("x" * 301, "x" * 300),
        ("", "E"),
    ],
)
def test_a_message_is_cut_before_it_may_repeat_a_signature(message: str, text: str) -> None:
    """And after 300 characters: some answers are whole pages. Without a message the error's own text is used."""
    error = Refusal("Strange.Code", message=message)
    if not message:
        error.args = ("E",)
    assert str(meaning(error)) == f"Strange.Code: {text}"


def test_an_error_without_a_code_is_ambiguous_and_tells_its_kind() -> None:
    """The change may have been made. The kinds of its causes are told, without their messages."""
    try:
        try:
            raise TimeoutError("to https://secret")
        except TimeoutError as cause:
            raise ConnectionError("secret") from cause
    except ConnectionError as error:
        error_read = meaning(error)
    assert type(error_read) is Ambiguous
    assert str(error_read) == "no readable answer (ConnectionError < TimeoutError)"


@pytest.mark.parametrize(
    "error",
    [
        DaraException({}),
        OSError("reset"),
        RuntimeError("cannot parse the body as json format"),
        type("Reset", (Exception,), {"__module__": "urllib3.exceptions"})(),
        type("Reset", (Exception,), {"__module__": "requests.exceptions"})(),
        type("Reset", (Exception,), {"__module__": "alibabacloud_tea_openapi.client"})(),
        type("Reset", (Exception,), {"__module__": "Tea.exceptions"})(),
    ],
)
def test_an_error_of_the_network_is_ambiguous(error: Exception) -> None:
    """Whichever library raises it; so is an answer that is no JSON."""
    assert type(meaning(error)) is Ambiguous


@pytest.mark.parametrize("error", [RuntimeError("no"), TypeError("as json format"), ValueError("secret")])
def test_a_programming_error_is_raised_as_it_is(error: Exception) -> None:
    """It must not look like an outage, which would be tried again for ever."""

    def send() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        call(send)
    assert raised.value is error


def test_an_error_of_the_sdk_is_not_shown_beside_ours() -> None:
    """It may quote the whole response, which for STS contains keys."""

    def send() -> None:
        raise Refusal("Forbidden.RAM", 403)

    with pytest.raises(NoAccess) as raised:
        call(send)
    assert raised.value.__suppress_context__
    assert raised.value.__cause__ is None


def test_a_client_has_the_settings_of_its_service() -> None:
    """Keys, region, scheme, host and short timeouts. Without an endpoint the SDK finds the host itself."""
    endpoints = {"ecs": "http://127.0.0.1:80", "sts": "https://sts.example.com"}
    settings = Settings("", "cn-a", "", "", "", endpoints, Credentials("own", "own"))
    keys = Credentials("id", "secret", "token")
    config = client_config(settings, "ecs", keys)
    assert (config.protocol, config.endpoint, config.region_id) == ("http", "127.0.0.1:80", "cn-a")
    assert (config.access_key_id, config.access_key_secret, config.security_token) == ("id", "secret", "token")
    assert (config.connect_timeout, config.read_timeout) == (CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS)
    assert client_config(settings, "sts", keys).endpoint == "sts.example.com"
    assert client_config(settings, "mns", keys).endpoint is None


@pytest.mark.parametrize("queue", ["", "no-such-queue"])
def test_without_its_queue_a_message_cannot_be_posted(local_cloud: LocalCloud, queue: str) -> None:
    """Neither with no name in the settings, nor on a queue that does not exist."""
    unset = msgspec.structs.replace(settings(local_cloud), queue="")
    with pytest.raises(Transient):
        MnsQueue(unset, HOME).post(look_request(Party(HOME, "i-web"), REGION, 0.0), queue=queue)
