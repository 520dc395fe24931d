"""Everything that can go wrong, and what it means for the delivery.

LinkPeerError
├── LinkDenied         a link is denied for good: record it, acknowledge the message (domain.denials)
├── BadInput           a text from outside has invalid syntax; names the field
├── PolicyError        the policy file does not validate: the function does not start
├── CloudError         the cloud refused a call for good; carries its code
│   └── NoAccess       the account, or the call, is refused to us
│       └── NotEntered the role by which an account is entered cannot be assumed
├── KeysExpired        the function's own keys have expired: this process can do nothing more
└── Transient          a transient error: the delivery must be redelivered
    ├── Throttled      the API is over its rate limit until the next minute
    ├── OutOfTime      the delivery's time does not suffice for a call
    ├── Ambiguous      no readable answer: the change may have been made, so read back before going on
    └── RedeliveryNeeded   what a handler raises once the audit log has recorded the trouble
"""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound="LinkPeerError")


class LinkPeerError(Exception):
    """Base of all errors of this project. Of an answer of a service: `service` is its name in settings (SERVICES),
    `code` the platform's own spelling, `request_id` the call's, and `account` the uid of who refused, where that is
    known."""

    service = ""
    code = ""
    request_id = ""
    account = ""

    def of(self: E, service: str, code: str, request_id: str = "") -> E:
        """The same error, as what a service answered."""
        self.service, self.code, self.request_id = service, code, request_id
        return self


class BadInput(LinkPeerError):
    """A text from outside that cannot be parsed. `field` says where, `problem` what is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class PolicyError(LinkPeerError):
    """The policy file does not validate. The message names the file, the line and the problem."""


class CloudError(LinkPeerError):
    """The cloud refused a call and would refuse it again."""

    def __init__(self, code: str, message: str, request_id: str = "", service: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.message = message
        self.of(service, code, request_id)


class NoAccess(CloudError):
    """The account cannot be entered, or the call is not permitted there."""


class NotEntered(NoAccess):
    """The role by which the account is entered cannot be assumed. Of a NoAccess that is none, the role was entered."""


class KeysExpired(LinkPeerError):
    """The own keys of this process have expired. It is neither Transient nor a CloudError, so that nothing goes on
    after it: no account is called refused, and nothing is put back with the same keys."""


def token_expired(code: str) -> bool:
    """Whether an error code of any service says that the security token has expired: `InvalidSecurityToken.Expired` of
    ECS and STS, `SecurityTokenExpired` of SLS and MNS."""
    return "SecurityToken" in code and code.endswith("Expired")


class Transient(LinkPeerError):
    """Throttled, overloaded, or not there yet. `request_id` is the call's, where an answer named it."""

    def __init__(self, message: str, *, request_id: str = "") -> None:
        super().__init__(message)
        self.request_id = request_id


class Throttled(Transient):
    """The API refuses calls until the next minute [doc ECS API throttling, help page 437902]."""


class OutOfTime(Transient):
    """A call may not be made before the time of the delivery is over."""


class Ambiguous(Transient):
    """The call got no readable answer (reset, timeout, HTML page): it may have been carried out."""


class RedeliveryNeeded(Transient):
    """The platform must deliver again; an `attempt` record says why."""
