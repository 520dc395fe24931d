"""Everything that can go wrong, and what it means for the delivery.

LinkPeerError
├── Denied           the link cannot be had as things stand: audit it, acknowledge it
├── BadInput         somebody's text is not the grammar; names the field
├── PolicyError      the policy file does not validate: the function does not start
├── CloudError       the cloud refused a call for good; carries its code
│   └── NoAccess     the account, or the call, is not ours to use
└── Transient        trouble of the moment: raise, so that the platform delivers again
    └── Ambiguous    no readable answer: the change may have been made; read back before going on
"""

from __future__ import annotations


class LinkPeerError(Exception):
    """Base of all errors of this project."""


class Denied(LinkPeerError):
    """A link that cannot be had as things stand. `reason` is one of docs/audit.md's."""

    def __init__(self, reason: str, detail: str, advice: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.advice = advice


class BadInput(LinkPeerError):
    """A text from outside that is not the grammar. `field` says where, `problem` what."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class PolicyError(LinkPeerError):
    """The policy file does not validate. The message names the file, the line and the problem."""


class CloudError(LinkPeerError):
    """The cloud refused a call and would refuse it again. `code` is its own spelling."""

    def __init__(self, code: str, message: str, request_id: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.request_id = request_id


class NoAccess(CloudError):
    """The account cannot be entered, or the call is not permitted there."""


class Transient(LinkPeerError):
    """Throttled, overloaded, or not there yet: the delivery must come again."""

    def __init__(self, message: str, *, throttled: bool = False, request_id: str = "") -> None:
        super().__init__(message)
        self.throttled = throttled
        self.request_id = request_id  # of the call, where an answer named it
        self.recorded = False  # whether the audit log has an `attempt` of it


class Ambiguous(Transient):
    """The call got no readable answer (reset, timeout, HTML): it may have been carried out."""
