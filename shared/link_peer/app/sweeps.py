"""What `sweep.handler` runs: a sweep of all accounts; or, where there is a queue for it, a message for each account
whose turn it is, and what such a message asks for.

    timer ─▶ a message for each account ─▶ queue ─▶ one delivery each: groups, closing, a part of the instances, opening
                                             ▲                │
                                             └────────────────┴─ the account's next message: what is left, or a short sweep in nine minutes
"""  # noqa: W505

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Collection

import msgspec

from link_peer.app.dispatch import Outcomes, message_elements, raise_first
from link_peer.domain import denials
from link_peer.domain.denials import LinkDenied
from link_peer.domain.errors import BadInput, RedeliveryNeeded, Transient
from link_peer.domain.model import short_hash
from link_peer.domain.request import SweepAccount
from link_peer.domain.tags import parse_instant
from link_peer.engine.records import denied_record
from link_peer.engine.scopes.accounts import SweptAccounts, sweep_accounts
from link_peer.engine.scopes.summary import timer_record
from link_peer.engine.scopes.sweep import AccountSweep, Run, begin, next_cursor, sweep_account
from link_peer.inbound import events
from link_peer.inbound.requests import decode_sweep
from link_peer.planning.cursor import Cursor, as_value, read_cursor
from link_peer.planning.rota import goes_on, next_look, whose_turn
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.retry import MINUTE
from link_peer.runtime.side_by_side import Job, run_jobs

AFTER_TROUBLE = 300  # seconds until what met a transient error is done again


def handle_sweep(event: bytes, delivery: Delivery) -> Outcomes:
    """What arrives at `sweep.handler`: the timer's event, or messages of the queue of sweeps. Each message has an
    outcome of its own; raises, after all of them, where one must be redelivered."""
    messages = message_elements(event)
    if not messages or not (event.lstrip().startswith(b"[") or _is_message(messages[0])):
        return handle_timer(event, delivery)
    outcomes: Outcomes = Counter()
    troubles: list[Exception] = []
    for result in run_jobs([_job(element, delivery) for element in messages], delivery.throughput.lanes):
        if isinstance(result, Exception):
            troubles.append(result)
        else:
            outcomes += result
    raise_first(troubles)
    return outcomes


def _is_message(element: object) -> bool:
    """Whether what came alone, not in an array, is a message, and not the timer's event."""
    return isinstance(element, dict) and not element.keys().isdisjoint(("action", "data", "messageBody"))


# the timer


def handle_timer(event: bytes, delivery: Delivery) -> Outcomes:
    """One sweep of all accounts, or a message for each whose turn it is. The timer's event gives its time; nothing else
    in it matters."""
    name, time = _run_of(event, delivery)
    if delivery.connections.sweep_queue:
        return _post_turns(name, time, delivery)
    _record_run(delivery.audit({"event_id": name}), delivery, delivery.policy.accounts, delivery.clock.now())
    swept = run_sweep(Run(delivery, name))
    return sum((sweep.outcomes for sweep in swept.sweeps), Outcomes())


def run_sweep(run: Run, *, recorded: bool = True) -> SweptAccounts:
    """Sweeps all accounts of the policy, as `sweep_accounts` does. Raises, after all of them, when a change must be
    tried again."""
    results = sweep_accounts(run, run.delivery.policy.accounts, recorded=recorded)
    troubles = [result for result in results if isinstance(result, Exception)]
    transient = all(isinstance(trouble, Transient) for trouble in troubles)
    if troubles and transient:
        audit = run.delivery.audit({"event_id": run.event_id})
        if audit.attempt(str(troubles[0]), {"action": "repair"}):
            raise RedeliveryNeeded(str(troubles[0])) from troubles[0]
    raise_first(troubles)
    sweeps = tuple(result for result in results if isinstance(result, AccountSweep))
    if pending := [trouble for sweep in sweeps for trouble in sweep.report.pending]:
        raise RedeliveryNeeded(str(pending[0]))
    return SweptAccounts(run.delivery, sweeps)


def _post_turns(name: str, time: float, delivery: Delivery) -> Outcomes:
    start, accounts = delivery.clock.now(), whose_turn(delivery.policy.accounts, time)
    jobs = [Job(functools.partial(delivery.post_sweep, account), frozenset({account})) for account in accounts]
    results = run_jobs(jobs, delivery.throughput.lanes)
    troubles = [result for result in results if isinstance(result, Exception)]
    posted = [uid for uid, result in zip(accounts, results, strict=True) if not isinstance(result, Exception)]
    audit = delivery.audit({"event_id": name})
    _record_run(audit, delivery, posted, start)
    if troubles:
        audit.attempt(str(troubles[0]), {"action": "repair"})
    raise_first(troubles)
    return audit.outcomes


def _record_run(audit: AuditWriter, delivery: Delivery, started_accounts: Collection[str], start: float) -> None:
    """Records what a run of the timer began: the sweeps of these accounts. Raises Transient if the log does not take
    it, and nothing that would prevent a sweep."""
    seconds = delivery.clock.now() - start
    audit.write([timer_record(started_accounts, delivery.policy, delivery.connections.dead_letters, seconds)])


def _run_of(event: bytes, delivery: Delivery) -> tuple[str, float]:
    """The name of a run, and the time for which the timer meant it: a repeated delivery is for the same accounts."""
    now = delivery.clock.now()
    try:
        time = json.loads(event)["triggerTime"]
    except (ValueError, KeyError, TypeError, RecursionError):
        time = None
    if not isinstance(time, str) or len(time) > 64:
        return f"sweep-{int(now)}", now
    try:
        return f"sweep-{time}", parse_instant(time)
    except BadInput:
        return f"sweep-{time}", now


# the queue of sweeps


def _job(element: object, delivery: Delivery) -> Job[Outcomes]:
    """Accounts are swept side by side. A message that cannot be read is denied and recorded."""
    event_id, body = events.queue_id(element), repr(element)
    try:
        envelope = events.queue_message(element, home=delivery.policy.home, region=delivery.region)
        body = envelope.body
        message = decode_sweep(body, region=delivery.region, accounts=delivery.policy.accounts)
    except (BadInput, LinkDenied) as error:
        denial = error.denial if isinstance(error, LinkDenied) else denials.bad_request(error)
        audit = delivery.audit({"event_id": event_id or f"unreadable-{short_hash(body)}"})

        def deny() -> Outcomes:
            audit.write([denied_record(denial, "repair")])
            return audit.outcomes

        return Job(deny, frozenset())
    name = event_id or f"sweep-{message.account}-{int(delivery.clock.now())}"
    return Job(functools.partial(_sweep_account, message, name, delivery), frozenset({message.account}))


def _sweep_account(message: SweepAccount, name: str, delivery: Delivery) -> Outcomes:
    """One delivery of an account's sweep; then the account's next message is posted. Raises Transient where that is not
    possible, so that the platform delivers this one again."""
    account, now, accounts = message.account, delivery.clock.now(), len(delivery.policy.accounts)
    cursor = None if message.cursor is None else read_cursor(message.cursor, now)
    if cursor and cursor.policy not in ("", delivery.policy.digest):
        # another number of accounts has turns in other runs: a newer sweep may begin later than this one would end
        cursor = msgspec.structs.replace(cursor, began=int(now))
    if cursor and not goes_on(account, accounts, cursor.began, now, listed=cursor.listed):
        return Counter()  # a newer sweep of the account has begun
    start = begin(Run(delivery, name), account, cursor=cursor)
    audit = start.work.audit
    try:
        sweep = sweep_account(start)
    except Transient as trouble:
        recorded = audit.attempt(str(trouble), {"action": "repair", "from_account": account})
        delay = next_look(accounts, start.start.began, now)
        if not recorded and delay is None:
            raise  # else the platform would give up within a minute, and nothing sweep the account until its next turn
        _post_next(account, start.start, delivery, delay)
        return audit.outcomes
    try:
        _post_next(account, next_cursor(sweep), delivery, _delay(sweep, accounts))
    except Transient as trouble:
        audit.attempt(str(trouble), {"action": "repair", "from_account": account})
        raise
    return sweep.outcomes


def _delay(sweep: AccountSweep, accounts: int) -> int | None:
    """In how many seconds the account has its next message: in the next minute, in which the limits of the API begin
    anew, where something is left; else when it is time for a short sweep."""
    now, cursor = sweep.work.delivery.clock.now(), next_cursor(sweep)
    if sweep.work.fetch.store.readable(sweep.account) and not cursor.listed:
        return AFTER_TROUBLE if sweep.report.pending else int(MINUTE - now % MINUTE) + 1
    return next_look(accounts, cursor.began, now)


def _post_next(account: str, cursor: Cursor, delivery: Delivery, delay: int | None) -> None:
    if delay is not None and delivery.connections.sweep_queue:
        delivery.post_sweep(account, as_value(cursor), delay)
