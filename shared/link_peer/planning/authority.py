"""What the policy alone decides: whose links there may be, and who may ask for what, as far as the queue proves it.
Pure.

The policy may give an account a queue of its own; RAM decides who may send to it. A message proves nothing by itself.
"""

from __future__ import annotations

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import Group, Link
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.request import Request
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import iso
from link_peer.planning.consent import Gate, consent_to, denied_by_policy
from link_peer.planning.guardrails import never_denial

DAY = 86400


def unknown_account(policy: Policy, link: Link) -> Denial | None:
    """An account that the policy does not list has no links."""
    for account in (link.source.account, link.target.account):
        if account not in policy.accounts or account in policy.leaving:
            return denials.unknown_account(account)
    return None


def request_denial(policy: Policy, request: Request, queue: str, now: float) -> Denial | None:
    """Why a request may not be carried out, whatever the cloud shows: it came through the wrong queue, or its link
    would last longer than the policy allows. `queue` is the one it came through; empty where that is not proven."""
    return _queue_denial(policy, request, queue) or _length_denial(policy, request, now)


def policy_denial(policy: Policy, request: Request, queue: str, now: float) -> Denial | None:
    """Why the policy alone denies a request, whatever the cloud shows. None where the functions may decide otherwise:
    then the cloud must be read."""
    denial = request_denial(policy, request, queue, now) or unknown_account(policy, request.link)
    if denial:
        return denial
    opens = request.action == "link"
    if policy.paused is Pause.ALL or (opens and policy.paused is Pause.OPENING):
        return denials.PAUSED
    if not opens:
        return None
    link = request.link
    barred = denied_by_policy(policy, link.ports) or never_denial(
        Snapshot(), policy, link.source, link.target, link.ports
    )
    return barred or _allow_list_denial(policy, link, now)


def _allow_list_denial(policy: Policy, link: Link, now: float) -> Denial | None:
    """Why a link between groups lacks consent, where only the policy's allow list can give it."""
    if policy.accept_tags or not link.source.is_group or policy.sets:
        return None
    gates = [
        Gate(Group(link.target, ""), link.source, link.target),
        Gate(Group(link.source, ""), link.target, link.source),
    ]
    return consent_to(policy, link, gates if link.mutual else gates[:1], now)[1]


def _queue_denial(policy: Policy, request: Request, queue: str) -> Denial | None:
    ends = (request.link.source.account, request.link.target.account)
    owner = policy.bound_queues.get(queue)
    speakers = ends[:1] if request.action == "link" else ends
    if owner is not None:
        return None if owner in speakers else denials.not_its_queue(queue, owner)
    bound = [account for account in speakers if policy.accounts.get(account) and policy.accounts[account].queue]
    if request.action == "sync" or len(bound) < len(speakers):
        return None  # of an unlink, either side may close: one without a queue of its own uses the shared one
    return denials.wrong_queue(bound[0], policy.accounts[bound[0]].queue)


def _length_denial(policy: Policy, request: Request, now: float) -> Denial | None:
    days = policy.limits.max_days
    if request.action != "link" or days is None:
        return None
    if request.until is not None and request.until <= now + days * DAY:
        return None
    return denials.until_not_allowed(days, iso(now + days * DAY))
