"""The type of a denial, and every reason code. The denials themselves, with their texts, are in `domain.denials`.

`DESCRIPTIONS` says what each code means in general; docs/audit.md lists it.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from link_peer.domain import advice as forms
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Link


class ReasonCode(str, Enum):
    """The `reason` of an audit record. NONE where an outcome needs no reason."""

    NONE = ""
    NO_CONSENT = "no-consent"
    NOT_ALLOWED = "not-allowed"
    BAD_TAG = "bad-tag"
    BAD_REQUEST = "bad-request"
    BAD_EVENT = "bad-event"
    EXPIRED = "expired"
    PAUSED = "paused"
    UNKNOWN_ACCOUNT = "unknown-account"
    NO_ACCESS = "no-access"
    PEER_NOT_FOUND = "peer-not-found"
    INSTANCE_GONE = "instance-gone"
    NO_PRIVATE_IP = "no-private-ip"
    SAME_GROUP = "same-group"
    DIFFERENT_REGION = "different-region"
    DIFFERENT_VPC = "different-vpc"
    CLASSIC_NETWORK = "classic-network"
    ADVANCED_GROUP = "advanced-group"
    MANAGED_GROUP = "managed-group"
    LOCKED = "locked"
    ISOLATED_GROUP = "isolated-group"
    ADDRESS_CONFLICT = "address-conflict"
    ID_IN_USE = "id-in-use"
    HALF_OPEN = "half-open"
    QUOTA = "quota"
    REMOVALS_HELD = "removals-held"
    HUMAN_RULE = "human-rule"

    __str__ = str.__str__


DESCRIPTIONS: dict[ReasonCode, str] = {
    ReasonCode.NO_CONSENT: "the accepting group has not consented to the source on every port",
    ReasonCode.NOT_ALLOWED: "the policy file forbids it, or ECS refuses the change",
    ReasonCode.BAD_TAG: "a tag cannot be parsed",
    ReasonCode.BAD_REQUEST: "a message does not match the request schema",
    ReasonCode.BAD_EVENT: "an event is not one that auto_link handles",
    ReasonCode.EXPIRED: "the request, or the link, has ended",
    ReasonCode.PAUSED: "the policy file pauses link-peer",
    ReasonCode.UNKNOWN_ACCOUNT: "the policy file does not list the account",
    ReasonCode.NO_ACCESS: "the account refuses access",
    ReasonCode.PEER_NOT_FOUND: "a security group does not exist",
    ReasonCode.INSTANCE_GONE: "an instance does not exist",
    ReasonCode.NO_PRIVATE_IP: "an instance has no private address yet",
    ReasonCode.SAME_GROUP: "both sides are the same group, or the same instance",
    ReasonCode.DIFFERENT_REGION: "the request names another region",
    ReasonCode.DIFFERENT_VPC: "the two groups are in different VPCs",
    ReasonCode.CLASSIC_NETWORK: "one side is in the classic network",
    ReasonCode.ADVANCED_GROUP: "one side is an advanced group, which cannot be the source or target of a group rule",
    ReasonCode.MANAGED_GROUP: "a cloud product manages the group",
    ReasonCode.LOCKED: "the group carries link-lock: no rule of ours may be on it",
    ReasonCode.ISOLATED_GROUP: "the peer is the instance's own group, whose members do not reach each other",
    ReasonCode.ADDRESS_CONFLICT: "the source's address does not safely identify the instance that was consented to",
    ReasonCode.ID_IN_USE: "another link of the same pair carries this request id",
    ReasonCode.HALF_OPEN: "one side of a mutual link is missing, and a sweep does not open it for a request",
    ReasonCode.QUOTA: "a group, or a rule's description, is full",
    ReasonCode.REMOVALS_HELD: "more rules are due for removal at once than the policy allows",
    ReasonCode.HUMAN_RULE: "a person's rule already admits the same traffic",
}
UNSEEN = frozenset({ReasonCode.PEER_NOT_FOUND, ReasonCode.INSTANCE_GONE, ReasonCode.NO_PRIVATE_IP})
"""Codes that say "the cloud does not show it". Removals for these count toward the cap and need a live account."""


class Denial(msgspec.Struct, frozen=True):
    """A reason code, the fact that decided (`detail`), and what to do about it (`advice`, may be empty)."""

    code: ReasonCode
    detail: str
    advice: str = ""

    @property
    def unseen(self) -> bool:
        """Whether the cause is only that the cloud does not show something."""
        return self.code in UNSEEN

    @property
    def outcome(self) -> str:
        """`failed` for a full quota, else `denied`: the outcome of a link that is refused for this."""
        return "failed" if self.code is ReasonCode.QUOTA else "denied"


NOTHING = Denial(ReasonCode.NONE, "")


def about(why: Denial, action: str, link: Link, region: str) -> Denial:
    """The denial with advice about this very link: see `domain.advice`."""
    return msgspec.structs.replace(why, advice=forms.filled(why.advice, action, link, region))


class LinkDenied(LinkPeerError):
    """A link, or a change that it needs, is denied for good. `denial` says why."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(f"{denial.code.value}: {denial.detail}")
        self.denial = denial
