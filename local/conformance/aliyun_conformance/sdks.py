"""The official SDKs with the keys of one identity, as thin as possible: for what `aliyun-selftest` asks the cloud."""

from __future__ import annotations

import base64
import functools
import logging
import os
import re
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from alibabacloud_credentials.provider import DefaultCredentialsProvider
from alibabacloud_ecs20140526 import models as ecs_models
from alibabacloud_ecs20140526.client import Client as EcsClient
from alibabacloud_eventbridge20200401 import models as bus_models
from alibabacloud_eventbridge20200401.client import Client as Bus
from alibabacloud_sts20150401.client import Client as Sts
from alibabacloud_sts20150401.models import AssumeRoleRequest
from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
from aliyun.log.logclient import LogClient
from aliyun.log.logexception import LogException
from darabonba.runtime import RuntimeOptions
from mns.account import Account
from mns.mns_exception import MNSExceptionBase, MNSServerException

from aliyun_conformance.errors import CloudError, SelftestError, Throttled, call

CONNECT_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 10_000
COMMAND_SECONDS = 60  # Cloud Assistant stops a command that runs longer
POLL_SECONDS = 0.5
GRACE_SECONDS = 5  # for the result of a command that used all of its time
FINISHED = ("Success", "Failed", "Stopped", "Terminated", "Timeout", "Aborted", "Invalid", "Error", "Cancelled")
THROTTLE_WAITS = (2.0, 5.0, 15.0, 40.0)  # seconds; a limit counts the calls of a minute [doc help 437902]


PRODUCTS = {
    "ecs": ("2014-05-26", "ecs.{region}.aliyuncs.com"),
    "ram": ("2015-05-01", "ram.aliyuncs.com"),
    "tag": ("2018-08-28", "tag.{region}.aliyuncs.com"),
    "ros": ("2019-09-10", "ros.aliyuncs.com"),
    "quotas": ("2020-05-10", "quotas.aliyuncs.com"),
    "actiontrail": ("2020-07-06", "actiontrail.{region}.aliyuncs.com"),
}
"""API version and endpoint of the products that `Sdks.raw` can call."""


class Clock(Protocol):
    """The time, and waiting."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""


class SystemClock:
    """The machine's."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)


class Credentials(msgspec.Struct, frozen=True):
    """Keys of an identity; the token is that of a session."""

    access_key_id: str
    access_key_secret: str
    security_token: str = ""


class Settings(msgspec.Struct, frozen=True):
    """Where a cloud is asked, and with which keys. An `endpoint`, such as `http://127.0.0.1:8101`, is that of a cloud which offers
    every service at one address; without it, each service is asked where it is at Alibaba Cloud."""

    region: str
    credentials: Credentials
    endpoint: str = ""

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self.endpoint.partition("://")[0] if "://" in self.endpoint else "https"

    @property
    def host(self) -> str:
        """The endpoint's host and port; empty without one."""
        return self.endpoint.rpartition("://")[2].rstrip("/")

    def url(self, place: str) -> str:
        """The URL of a service which at Alibaba Cloud is at `place`."""
        return f"{self.scheme}://{self.host or place}"


def personal_credentials() -> Credentials:
    """The person's keys: ALIBABA_CLOUD_ACCESS_KEY_ID and …_SECRET, else from where the official SDKs look for them. Raises
    SelftestError if there are none."""
    env = {name: os.environ.get(f"ALIBABA_CLOUD_{name.upper()}", "") for name in Credentials.__struct_fields__}
    if env["access_key_id"] and env["access_key_secret"]:
        return Credentials(**env)
    logging.getLogger("credentials").disabled = True  # the SDK prints what the chain tried and did not find
    try:
        keys = DefaultCredentialsProvider().get_credentials()
    except Exception as error:  # the providers raise many kinds, some of them plain
        raise SelftestError(
            "there is no access key: set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or run `aliyun configure`"
        ) from error
    return Credentials(keys.get_access_key_id(), keys.get_access_key_secret(), keys.get_security_token() or "")


class LogUnavailable(Exception):
    """A call of SLS failed. Not a LogException, because the SDK would retry that ten times, a second apart."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = status


class OneAttemptClient(LogClient):
    """LogClient without its retry loop."""

    def _sendRequest(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802  # the SDK's name
        try:
            return super()._sendRequest(*args, **kwargs)  # type: ignore[misc]
        except LogException as error:
            raise LogUnavailable(
                error.get_error_code(), error.get_error_message()[:300], int(error.get_resp_status())
            ) from error


UNAVAILABLE = (LogUnavailable, MNSExceptionBase, OSError)
"""What the clients of SLS and MNS raise for a call that failed; the others raise SelftestErrors."""


class Ecs:
    """ECS with plain arguments. Raises SelftestErrors."""

    def __init__(self, config: Config, region: str, clock: Clock) -> None:
        self.models: Any = ecs_models
        self._client: Any = EcsClient(config)
        self._region = region
        self._clock = clock

    def ask(self, operation: str, **fields: Any) -> Any:
        """Call one operation, such as `describe_instances`, and return the body of its response."""
        name = "".join(part.title() for part in operation.split("_")) + "Request"
        request = getattr(self.models, name)(region_id=self._region, **fields)
        return call(lambda: getattr(self._client, operation)(request)).body

    def tag(self, kind: str, resource: str, **tags: str) -> None:
        """Set tags. `kind` is `instance` or `securitygroup`."""
        added = [self.models.TagResourcesRequestTag(key=key, value=value) for key, value in tags.items()]
        self.ask("tag_resources", resource_type=kind, resource_id=[resource], tag=added)

    def untag(self, kind: str, resource: str, *keys: str) -> None:
        """Remove tags by their exact names."""
        self.ask("untag_resources", resource_type=kind, resource_id=[resource], tag_key=list(keys))

    def execute(self, instance: str, command: str) -> tuple[int | None, str]:
        """Run a shell command on an instance through Cloud Assistant.

        Returns its exit code, None if it did not run to its end or Cloud Assistant is not there, and its output.
        """
        timeout = {"timeout": COMMAND_SECONDS, "type": "RunShellScript"}
        started = self.ask("run_command", command_content=command, instance_id=[instance], **timeout)
        deadline = self._clock.now() + COMMAND_SECONDS + GRACE_SECONDS
        while True:
            body = self.ask("describe_invocation_results", invoke_id=str(started.invoke_id))
            results = body.invocation.invocation_results.invocation_result
            if results and results[0].invocation_status in FINISHED:
                result = results[0]
                output = base64.b64decode(result.output or "").decode("utf-8", "replace")
                return result.exit_code, output or str(result.error_info or result.invocation_status)
            if self._clock.now() > deadline:
                return None, "Cloud Assistant returned no result in time"
            self._clock.sleep(POLL_SECONDS)


class Sdks:
    """One identity: the keys of the settings, or a session of a role."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock

    @functools.cached_property
    def ecs(self) -> Ecs:
        """ECS. Raises SelftestErrors."""
        return Ecs(self._config("ecs.{region}.aliyuncs.com"), self.settings.region, self.clock)

    @functools.cached_property
    def sts(self) -> Any:
        """The STS client. Its errors are the SDK's own: use it through `call`."""
        return Sts(self._config("sts.{region}.aliyuncs.com"))

    @functools.cached_property
    def log(self) -> Any:
        """The SLS client. Raises LogUnavailable."""
        keys, region = self.settings.credentials, self.settings.region
        client: Any = OneAttemptClient(
            self.settings.url(f"{region}.log.aliyuncs.com"),
            keys.access_key_id,
            keys.access_key_secret,
            keys.security_token or None,
            source="selftest",  # without it the SDK opens a socket to find this host's address
            region=region,
        )
        client.timeout = READ_TIMEOUT_MS / 1000
        if re.fullmatch(r"[\d.]+(:\d+)?", self.settings.host):
            # The SDK would connect to <project>.<host>, which does not resolve for an IP address. With this flag it puts the
            # project into the Host header only. It sets the flag itself for an address without a port (Util.is_row_ip).
            client._isRowIp = True
        return client

    def queues(self, account: str) -> Any:
        """The MNS client of an account. Raises MNSExceptionBase."""
        keys = self.settings.credentials
        url = self.settings.url(f"{account}.mns.{self.settings.region}.aliyuncs.com")
        client = Account(url, keys.access_key_id, keys.access_key_secret, keys.security_token)
        client.mns_client.set_connection_timeout(CONNECT_TIMEOUT_MS // 1000)
        return client

    @functools.cached_property
    def bus(self) -> Any:
        """The EventBridge client. Its errors are the SDK's own: use it through `call`."""
        return Bus(self._config("eventbridge.{region}.aliyuncs.com"))

    def events(self, operation: str, request: str, **fields: Any) -> Any:
        """Call one operation of EventBridge and return the body of its response."""
        request_model = getattr(bus_models, request)(**fields)
        return call(lambda: getattr(self.bus, operation)(request_model)).body

    def ask(self, operation: str, **fields: Any) -> Any:
        """Call one operation of ECS, such as `describe_instances`. A throttled call is repeated after a while."""
        return self.patient(lambda: self.ecs.ask(operation, **fields))

    def patient(self, send: Callable[[], Any]) -> Any:
        """Make one call, and repeat it while it is throttled."""
        for seconds in THROTTLE_WAITS:
            try:
                return send()
            except Throttled:
                self.clock.sleep(seconds)
        return send()

    def raw(self, product: str, action: str, **params: str) -> dict[str, Any]:
        """Call any RPC action with its parameters as spelled on the wire (`_` for `.`), and return the JSON as it came.

        For what a model would hide: the order of keys, absent keys, products without an SDK of their own here.
        """
        version, endpoint = PRODUCTS[product]
        described = Params(
            action=action,
            version=version,
            protocol=self.settings.scheme,
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        request = OpenApiRequest(query={name.replace("_", "."): value for name, value in params.items()})
        client = Client(self._config(endpoint))
        answer = call(lambda: client.call_api(described, request, RuntimeOptions()))
        return dict(answer["body"])

    def identity(self) -> tuple[str, str]:
        """(account uid, ARN) of the keys [doc GetCallerIdentity]."""
        identity = call(self.sts.get_caller_identity).body
        return str(identity.account_id), str(identity.arn)

    def assume_role(self, **fields: Any) -> Any:
        """The body of the response of AssumeRole."""
        request = AssumeRoleRequest(**fields)
        return call(lambda: self.sts.assume_role(request)).body

    def assume(self, role: str, session: str, external_id: str = "", policy: str = "") -> Sdks:
        """A session of a role, narrowed by a session policy. Raises CloudError if it is refused."""
        keys = self.assume_role(
            role_arn=role,
            role_session_name=session,
            duration_seconds=900,
            external_id=external_id or None,
            policy=policy or None,
        ).credentials
        session_keys = Credentials(str(keys.access_key_id), str(keys.access_key_secret), str(keys.security_token))
        return Sdks(msgspec.structs.replace(self.settings, credentials=session_keys), self.clock)

    def _config(self, place: str) -> Config:
        """A client's configuration. The SDK does not retry by itself."""
        keys = self.settings.credentials
        return Config(
            access_key_id=keys.access_key_id,
            access_key_secret=keys.access_key_secret,
            security_token=keys.security_token or None,
            region_id=self.settings.region,
            protocol=self.settings.scheme,
            endpoint=self.settings.host or place.format(region=self.settings.region),
            connect_timeout=CONNECT_TIMEOUT_MS,
            read_timeout=READ_TIMEOUT_MS,
        )


def code_of(send: Callable[[], Any]) -> str:
    """The code of `refusal_of`."""
    return refusal_of(send)[0]


def refusal_of(send: Callable[[], Any]) -> tuple[str, int]:
    """Make one call of any of these SDKs; return the code and the HTTP status of its refusal, or ("", 0) if it succeeded.

    What passes, and programming errors, are raised.
    """
    try:
        send()
    except CloudError as refusal:
        return refusal.code, refusal.status
    except LogUnavailable as refusal:
        return refusal.code, refusal.status
    except MNSServerException as refusal:
        return str(refusal.type), 0  # the SDK does not keep it
    return "", 0
