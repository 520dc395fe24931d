"""The endpoints of MNS: whether an account's public one answers, and from which networks [doc SDK mns-open20220119
1.4.1].

The default of a new account and the refusal at a closed endpoint are assumed: open to all, and AccessDenied.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Caller

ACTIONS = frozenset({"DisableEndpoint", "EnableEndpoint", "GetEndpointAttribute"})
EVERYWHERE = "0.0.0.0/0"


class PublicEndpoint(Struct):
    """Whether the public endpoint of an account answers, and the networks that it answers."""

    is_enabled: bool = True
    networks: tuple[str, ...] = (EVERYWHERE,)


class Endpoints:
    """The public endpoints of the accounts in one region. Those of VPCs, whose names have `-internal`, always
    answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._public: dict[str, PublicEndpoint] = {}

    def public(self, account: str) -> PublicEndpoint:
        """The public endpoint of an account."""
        with self._lock:
            return self._public.setdefault(account, PublicEndpoint())

    def require_open(self, account: str, host: str) -> None:
        """Refuse what comes to a public endpoint that is disabled."""
        if "-internal" not in host and not self.public(account).is_enabled:
            raise ApiError("AccessDenied", 403, "The public endpoint of the account is disabled.")

    def call(self, caller: Caller, action: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Run one action: the answer without RequestId, or ApiError."""
        if params.get("EndpointType") != "public":
            raise ApiError("InvalidParameter", 400, "The specified EndpointType is invalid.")
        endpoint = self.public(caller.account)
        answer: dict[str, Any] = {"Code": 200, "Status": "Success", "Message": "operation success", "Success": True}
        if action == "GetEndpointAttribute":
            networks = [{"Cidr": network, "AclStrategy": "allow", "CreateTime": 0} for network in endpoint.networks]
            return {**answer, "Data": {"EndpointEnabled": endpoint.is_enabled, "CidrList": networks}}
        endpoint.is_enabled = action == "EnableEndpoint"
        return answer
