"""What an account or the policy file denies, and missing consent."""

from __future__ import annotations

from collections.abc import Sequence

from link_peer.domain.advice import POST_AGAIN
from link_peer.domain.denial import Denial, ReasonCode

ACCESS_ADVICE = (
    "check that account's role, its trust policy and external id, and the role's ECS permissions: link-peer doctor"
)
PAUSED = Denial(
    ReasonCode.PAUSED,
    "the policy pauses link-peer: nothing is opened",
    "set paused: false in the policy file and deploy it, then post the request again, or touch the tag",
)


def unknown_account(account: str) -> Denial:
    """An account that the policy file does not list."""
    advice = (
        f'add "{account}" to accounts in the policy file, with the role that link-peer may assume there, and deploy it; '
        f"this prints the lines: link-peer account add {account}"
    )
    return Denial(ReasonCode.UNKNOWN_ACCOUNT, f"account {account} is not in the policy", advice)


def no_access(account: str, code: str) -> Denial:
    """An account that refused access, with the platform's error code."""
    return Denial(ReasonCode.NO_ACCESS, f"account {account}: {code}", ACCESS_ADVICE)


def sweep_no_access(account: str, code: str) -> Denial:
    """An account that refused access to a sweep."""
    detail = f"account {account} refuses access: {code}: nothing is removed there"
    return Denial(ReasonCode.NO_ACCESS, detail, ACCESS_ADVICE)


def unreadable(account: str, problem: str) -> Denial:
    """An account that could not be read because of a transient error: nothing is decided about its side now, and nothing is recorded."""
    return Denial(ReasonCode.NONE, f"account {account} could not be read: {problem}")


def no_access_to_group(group: object, code: str = "") -> Denial:
    """A group that may not be read or changed."""
    return Denial(
        ReasonCode.NO_ACCESS, f"{group} cannot be read or changed" + (f": {code}" if code else ""), ACCESS_ADVICE
    )


def _not_allowed(detail: str, advice: str = "ask for fewer ports, or have the policy file changed") -> Denial:
    return Denial(ReasonCode.NOT_ALLOWED, detail, advice)


def not_reviewed(group: object) -> Denial:
    """A change that is not in the plan which a person applies."""
    return Denial(
        ReasonCode.NOT_ALLOWED,
        f"{group}: the reviewed plan has no such change, so link-peer apply does not make it",
        "save a new plan with --out, review it, and apply that",
    )


def mutual_not_allowed() -> Denial:
    """A mutual link under a policy that denies some ports."""
    return _not_allowed("a mutual link opens every port, and the policy denies some")


def too_many_ports(count: int, limit: int) -> Denial:
    """A link with more ports than the policy allows."""
    return _not_allowed(f"{count} ports in one link; at most {limit} are allowed")


def port_span_too_wide(port: object, span: int, limit: int) -> Denial:
    """A port range that is wider than the policy allows."""
    return _not_allowed(f"{port} spans {span} ports; at most {limit} are allowed")


def port_denied(port: object, denied: object) -> Denial:
    """A port that overlaps one which the policy never opens."""
    return _not_allowed(f"{port} overlaps {denied}, which the policy never opens")


def too_many_peers(limit: int) -> Denial:
    """A peer beyond the first `limit` of an instance's tags."""
    return _not_allowed(
        f"an instance may name {limit} peers, and this one comes after them", "remove peers from its tags"
    )


def until_not_allowed(limit: int, latest: str) -> Denial:
    """A request without an end, or with one later than limits.max_days allows: `latest`, now."""
    return _not_allowed(
        f"the policy allows links for at most {limit} days",
        f"post it again with an until of at most {limit} days: {POST_AGAIN} --until {latest}",
    )


def not_its_queue(queue: str, account: str) -> Denial:
    """A request on an account's own queue that speaks for another account."""
    return _not_allowed(
        f"the queue {queue} takes only requests of account {account}",
        f"post it to the queue of the account it speaks for, which the command does: {POST_AGAIN}",
    )


def wrong_queue(account: str, queue: str) -> Denial:
    """A request that did not come through the queue of the account it speaks for."""
    return _not_allowed(
        f"account {account} has a queue of its own, and this request did not come through it",
        f"post it to the queue {queue}, which the command does: {POST_AGAIN}",
    )


def not_home(account: str) -> Denial:
    """A look at a party of another account."""
    return _not_allowed(f"a look is at a party of the home account, and {account} is not it", "send a sync of the pair")


def no_consent(missing: Sequence[str], tags: Sequence[str], entries: Sequence[str], *, by_tag: bool) -> Denial:
    """Groups that have not consented. Where the policy counts tags: each group with its missing `tags`, and the `entries`
    (`<group> <who>:<ports>`) by which its owner writes them."""
    advice = "have the pair added to allow in the policy file"
    if by_tag:
        commands = "; ".join(f"link-peer accept {entry}" for entry in entries)
        advice = f"{' and '.join(f'tag {tag}' for tag in tags)}: {commands}"
    return Denial(ReasonCode.NO_CONSENT, "; ".join(missing), advice)
