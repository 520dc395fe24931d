"""ActionTrail, read through its official SDK: who changed security groups in an account.

At most two calls a second [doc LookupEvents]; a query spans at most 30 days, and events are kept for 90 [doc-detail
28849].
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from link_peer.alicloud.sdk import call, client_config
from link_peer.domain.errors import Ambiguous, LinkPeerError, Throttled
from link_peer.domain.tags import iso
from link_peer.runtime.settings import Settings

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.trail_events import TAG_CALLS

MOST_PAGES = 2_000  # of one call in one account: some 17 minutes of reading, and 100,000 events
PAGE = 50  # [doc LookupEvents: at most 50 events per page]
DAY = 86_400.0
KEPT_SECONDS = 90 * DAY  # [doc ActionTrail limits]
SPAN_SECONDS = 30 * DAY  # of one question, at most [doc LookupEvents]
MARGIN_SECONDS = 60  # between our clock and ActionTrail's
THROTTLED_SECONDS = 1.0  # the limit counts the calls of a second: two [doc ActionTrail limits]
THROTTLED_ATTEMPTS = 20

NAMES = (
    "AuthorizeSecurityGroup",
    "RevokeSecurityGroup",
    "ModifySecurityGroupRule",
    "AuthorizeSecurityGroupEgress",
    "RevokeSecurityGroupEgress",
    "ModifySecurityGroupEgressRule",
    "ModifySecurityGroupPolicy",
    "DeleteSecurityGroup",
    *TAG_CALLS,
)
"""The calls that change the rules of a security group, or its tags, those of the Tag service among them. Each is a
query of its own: an event can be looked up by one attribute only, and other calls of ECS are far more frequent."""


def trail_start(now: float) -> float:
    """From when on ActionTrail has events at `now`, both in epoch seconds."""
    return now - KEPT_SECONDS + MARGIN_SECONDS


def keeps(since: float, now: float) -> bool:
    """Whether ActionTrail has the events since an instant at `now`, both in epoch seconds. A command that asks for the
    last 90 days means no more by the seconds that have passed."""
    return since >= now - KEPT_SECONDS - MARGIN_SECONDS


class Trail:
    """The trails of the accounts of the policy, in a region: by default that of the settings."""

    def __init__(self, env: Environment) -> None:
        self._settings = env.settings
        self._clock = env.clock
        self._retry = env.patient_retry()
        self._accounts = env.accounts("audit-verify", self._retry)

    @property
    def region(self) -> str:
        """Whose events these are."""
        return self._settings.region

    def elsewhere(self, settings: Settings) -> Trail:
        """The trails of these accounts in the region to which these settings lead, read in the same sessions."""
        trail = copy.copy(self)
        trail._settings = settings  # of its own class
        return trail

    def events(self, account: str, name: str, start: float, end: float) -> list[Mapping[str, Any]]:
        """The events of one call from `start` to `end` (epoch seconds), as ActionTrail writes them.

        Raises LinkPeerError if they cannot all be read.
        """
        events: dict[str, Mapping[str, Any]] = {}
        start = max(start, trail_start(end))
        while start <= end:
            until = min(end, start + SPAN_SECONDS)
            for event in self._pages(account, name, start, until):
                events[str(event.get("eventId") or len(events))] = event
            start = until + 1
        return list(events.values())

    def _pages(self, account: str, name: str, start: float, end: float) -> Iterator[Mapping[str, Any]]:
        from alibabacloud_actiontrail20200706 import models  # an SDK: when it is asked, since help needs none

        condition = models.LookupEventsRequestLookupAttribute(key="EventName", value=name)
        past_tokens: set[str] = set()
        token = ""
        for _ in range(MOST_PAGES):
            request = models.LookupEventsRequest(
                lookup_attribute=[condition],
                start_time=iso(start),
                end_time=iso(end),
                max_results=str(PAGE),
                direction="FORWARD",
                next_token=token or None,
            )
            body = self._lookup(account, request)
            for event in body.events or ():
                if not isinstance(event, dict):
                    raise LinkPeerError(f"ActionTrail of account {account} has an event of {name} that is no object")
                yield event
            token = str(body.next_token or "")
            if not token:
                return
            if token in past_tokens:
                raise LinkPeerError(f"ActionTrail of account {account} repeats a page of {name}")
            past_tokens.add(token)
        raise LinkPeerError(
            f"ActionTrail of account {account} has more than {MOST_PAGES * PAGE} calls of {name}: give a shorter --since"
        )

    def _lookup(self, account: str, request: Any) -> Any:
        """One page. A throttled call is made again after a second."""
        for _ in range(THROTTLED_ATTEMPTS):
            try:
                return self._retry(lambda: self._send(account, request))
            except _Busy:
                self._clock.sleep(THROTTLED_SECONDS)
        raise LinkPeerError(f"ActionTrail of account {account} throttles every call")

    def _send(self, account: str, request: Any) -> Any:
        from alibabacloud_actiontrail20200706.client import Client  # an SDK: when it is asked, since help needs none

        config = client_config(self._settings, "actiontrail", self._accounts.keys(account))
        config.endpoint = config.endpoint or f"actiontrail.{self._settings.region}.aliyuncs.com"
        try:
            body = call(lambda: Client(config).lookup_events(request)).body
        except Throttled as error:
            raise _Busy from error
        if getattr(body, "start_time", None) is None:  # the SDK turns a 200 of the wrong shape into an empty model
            raise Ambiguous("the response of LookupEvents has no StartTime")
        return body


class _Busy(Exception):
    """Throttled: not a Transient, which `Retry` would repeat in the next minute only."""
