"""One delivery: what the platform handed over, and everything that deciding about it needs. All of it is passed in."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from link_peer.domain.errors import PolicyError
from link_peer.inbound import policy_file as policies
from link_peer.inbound.policy_file import Policy
from link_peer.runtime import settings as settings_module
from link_peer.runtime.audit import Audit, Scribe, SlsAudit
from link_peer.runtime.clock import Clock, SystemClock
from link_peer.runtime.ports import Cloud
from link_peer.runtime.retry import Retry

MARGIN = 0.15  # of the function's time is kept for the outcomes
DEFAULT_SECONDS = 60.0  # where nobody says how long the function may run


class Queue(Protocol):
    """Where requests go."""

    def post(self, body: bytes) -> None:
        """Raises Transient when the queue may not have it."""
        ...


class Delivery:
    """The world of one delivery. `cloud(name)` opens the accounts; the name ties role sessions to event or request."""

    def __init__(
        self,
        *,
        function: str,
        region: str,
        policy: Policy,
        clock: Clock,
        cloud: Callable[[str, Retry], Cloud],
        audit: Audit,
        queue: Queue,
        seconds: float = DEFAULT_SECONDS,
    ) -> None:
        self.function = function
        self.region = region
        self.policy = policy
        self.clock = clock
        self.retry = Retry(clock, clock.now() + seconds * (1 - MARGIN))
        self.audit = audit
        self.queue = queue
        self._cloud = cloud

    def cloud(self, name: str) -> Cloud:
        return self._cloud(name, self.retry)

    def scribe(self, common: Mapping[str, str], events: Mapping[str, str] | None = None) -> Scribe:
        """Writes this delivery's records."""
        fields = {
            "function": self.function,
            "deployment": self.policy.deployment,
            "region": self.region,
            **common,
        }
        return Scribe(self.audit, fields, self.retry, events)


def opened(function: str, context: Any) -> Delivery:
    """The delivery of a deployed function: settings from the environment, the official SDKs, the machine's clock."""
    settings = settings_module.load(context)
    policy = load_policy(settings.policy_path)
    if settings.account not in ("", policy.home):
        raise PolicyError(
            f"{settings.policy_path}: home is {policy.home}, but this function runs in {settings.account}: "
            "the account without a role must be the function's own"
        )
    clock = clock_for_functions()

    def cloud(name: str, retry: Retry) -> Cloud:
        from link_peer.alicloud.sts import Accounts

        return Accounts(settings, policy, clock, retry, name)

    from link_peer.alicloud.mns import MnsQueue

    limit = getattr(getattr(context, "function", None), "timeout", None)
    return Delivery(
        function=function,
        region=settings.region,
        policy=policy,
        clock=clock,
        cloud=cloud,
        audit=SlsAudit(settings, clock),
        queue=MnsQueue(settings, policy.home),
        seconds=float(limit or DEFAULT_SECONDS),
    )


clock_for_functions: Callable[[], Clock] = SystemClock
"""The one seam for time: tests that run whole handlers put their own clock here."""


def load_policy(path: str) -> Policy:
    """The policy file, read again only when it changed. Raises PolicyError: the function does not start."""
    try:
        stamp = os.stat(path)
        return _policy(path, stamp.st_mtime_ns, stamp.st_size)
    except OSError:
        return policies.load(path)  # says what is wrong in its own words


@functools.lru_cache(maxsize=4)
def _policy(path: str, _mtime: int, _size: int) -> Policy:
    return policies.load(path)
