"""The official SDKs with the keys of one identity, as thin as possible: for what `selftest` asks the cloud."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec
from alibabacloud_eventbridge20200401 import models as bus_models
from alibabacloud_eventbridge20200401.client import Client as Bus
from alibabacloud_sts20150401.client import Client as Sts
from alibabacloud_sts20150401.models import AssumeRoleRequest
from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions
from link_peer.alicloud.mns import account as mns_account
from link_peer.alicloud.sdk import call, client_config
from link_peer.alicloud.sls import AuditUnavailable
from link_peer.alicloud.sls import client as sls_client
from link_peer.domain.errors import CloudError, Throttled
from link_peer.runtime.clock import Clock
from link_peer.runtime.settings import Credentials, Settings
from link_peer_cli.access.ecs import PersonalEcs
from mns.mns_exception import MNSExceptionBase, MNSServerException

THROTTLE_WAITS = (2.0, 5.0, 15.0, 40.0)  # seconds; a limit counts the calls of a minute [doc help 437902]

UNAVAILABLE = (AuditUnavailable, MNSExceptionBase, OSError)
"""What the clients of SLS and MNS raise for a call that failed; ECS and STS raise LinkPeerErrors."""

PRODUCTS = {
    "ecs": ("2014-05-26", "ecs.{region}.aliyuncs.com"),
    "ram": ("2015-05-01", "ram.aliyuncs.com"),
    "tag": ("2018-08-28", "tag.{region}.aliyuncs.com"),
    "ros": ("2019-09-10", "ros.aliyuncs.com"),
    "quotas": ("2020-05-10", "quotas.aliyuncs.com"),
    "actiontrail": ("2020-07-06", "actiontrail.{region}.aliyuncs.com"),
}
"""API version and endpoint of the products that `Sdks.raw` can call."""


class Sdks:
    """One identity: the keys of the settings, or a session of a role."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock

    @functools.cached_property
    def ecs(self) -> PersonalEcs:
        """ECS; raises the errors of link_peer.domain.errors."""
        return PersonalEcs(self.settings, self.settings.credentials, self.clock)

    @functools.cached_property
    def sts(self) -> Any:
        """The STS client. Its errors are the SDK's own: use it through `link_peer.alicloud.sdk.call`."""
        return Sts(self._config("sts", "sts.{region}.aliyuncs.com"))

    @functools.cached_property
    def log(self) -> Any:
        """The SLS client. Raises AuditUnavailable."""
        return sls_client(self.settings)

    def queues(self, account: str) -> Any:
        """The MNS client of an account. Raises MNSExceptionBase."""
        return mns_account(self.settings, account)

    @functools.cached_property
    def bus(self) -> Any:
        """The EventBridge client. Its errors are the SDK's own: use it through `link_peer.alicloud.sdk.call`."""
        return Bus(self._config("eventbridge", "eventbridge.{region}.aliyuncs.com"))

    def events(self, operation: str, request: str, **fields: Any) -> Any:
        """Call one operation of EventBridge and return the body of its response."""
        asked = getattr(bus_models, request)(**fields)
        return call(lambda: getattr(self.bus, operation)(asked)).body

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
            protocol=self.settings.endpoint("ecs")[0],
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        request = OpenApiRequest(query={name.replace("_", "."): value for name, value in params.items()})
        client = Client(self._config(product, endpoint))
        answer = call(lambda: client.call_api(described, request, RuntimeOptions()))
        return dict(answer["body"])

    def identity(self) -> tuple[str, str]:
        """(account uid, ARN) of the keys [doc GetCallerIdentity]."""
        found = call(self.sts.get_caller_identity).body
        return str(found.account_id), str(found.arn)

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
        given = Credentials(str(keys.access_key_id), str(keys.access_key_secret), str(keys.security_token))
        return Sdks(msgspec.structs.replace(self.settings, credentials=given), self.clock)

    def _config(self, service: str, endpoint: str) -> Any:
        """A client's configuration. A service without an endpoint setting uses that of ECS, if there is one: a local cloud
        offers everything at one address."""
        if not self.settings.endpoint(service)[1] and self.settings.endpoint("ecs")[1]:
            service = "ecs"
        config = client_config(self.settings, service, self.settings.credentials)
        config.endpoint = config.endpoint or endpoint.format(region=self.settings.region)
        return config


def code_of(send: Callable[[], Any]) -> str:
    """The code of `refusal_of`."""
    return refusal_of(send)[0]


def refusal_of(send: Callable[[], Any]) -> tuple[str, int]:
    """Make one call of any of these SDKs; return the code and the HTTP status of its refusal, or ("", 0) if it succeeded.

    Trouble of the moment and programming errors are raised.
    """
    try:
        send()
    except CloudError as refusal:
        return refusal.code, int(getattr(refusal.__context__, "status_code", 0))  # the SDK's error
    except AuditUnavailable as refusal:
        return refusal.code, int(refusal.__cause__.get_resp_status())  # type: ignore[union-attr]
    except MNSServerException as refusal:
        return str(refusal.type), 0  # the SDK does not keep it
    return "", 0
