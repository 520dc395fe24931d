"""Deliveries of commands: dry runs, and what a command may do that a function may not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from link_peer.alicloud.audit_log import SlsAuditLog
from link_peer.app.compose import load_policy
from link_peer.domain.policy import Pause
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Cloud
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials

from link_peer_cli.access.environment import LONGEST_WAIT, SECONDS, Environment
from link_peer_cli.access.roles import PersonsAccounts
from link_peer_cli.review.cloud import Change, Shown, WhatIf
from link_peer_cli.review.kept import Kept
from link_peer_cli.review.reviewed import Reviewed
from link_peer_cli.review.writes import Write, undone

READERS = 16  # reads side by side: a person waits, and a call takes tens of milliseconds; the SDK pools 40 connections


def patient(delivery: Delivery) -> Delivery:
    """Return a delivery whose calls wait until a throttled API takes them again."""
    delivery.retry = Retry(delivery.clock, delivery.retry.deadline, LONGEST_WAIT)
    return delivery


def suppose(env: Environment, function: str, shown: dict[str, Shown] | None = None) -> tuple[Delivery, WhatIf, Kept]:
    """Return a delivery that changes, records and posts nothing, with its cloud and its records. `shown` is that of another
    such cloud, with which it is compared."""
    kept = Kept()
    retry = env.patient_retry()
    accounts = PersonsAccounts(env.settings, env.policy, env.clock, retry, function, reading=env.reading)
    cloud = WhatIf(accounts, env.settings.region, shown)

    def enter(_name: str, _retry: Retry) -> Cloud:
        return cloud

    made = Delivery(
        function=function,
        region=env.settings.region,
        policy=env.policy,
        clock=env.clock,
        open_cloud=enter,
        log=kept,
        queue=kept,
        seconds=SECONDS,
        readers=READERS,
        calls_per_minute=env.settings.calls_per_minute,
        supposed=True,
    )
    return made, cloud, kept


def closing(
    env: Environment, leaving: Iterable[str], own: Mapping[str, Credentials], *, dry_run: bool
) -> tuple[Delivery, Kept, list[Change]]:
    """Return a delivery in which the accounts that are `leaving` have no links and nothing is opened, with its records and,
    if `dry_run`, the changes that it would make. `own` are the person's keys of other accounts, by uid."""
    policy = msgspec.structs.replace(env.policy, leaving=frozenset(leaving), paused=Pause.OPENING)
    kept = Kept()

    def enter(name: str, retry: Retry) -> PersonsAccounts:
        return PersonsAccounts(env.settings, policy, env.clock, retry, name, reading=dry_run, own=own)

    supposed = WhatIf(enter("account", env.patient_retry()), env.settings.region)

    def open_cloud(name: str, retry: Retry) -> Cloud:
        return supposed if dry_run else enter(name, retry)

    made = Delivery(
        function="sweep",
        region=env.settings.region,
        policy=policy,
        clock=env.clock,
        open_cloud=open_cloud,
        log=kept if dry_run else kept.over(SlsAuditLog(env.settings, env.clock)),
        queue=kept,
        seconds=SECONDS,
        supposed=dry_run,
    )
    return patient(made), kept, supposed.changes


class PersonsDelivery(Delivery):
    """A delivery whose records name the person who runs it (an ARN), beside whom a request names."""

    caller = ""

    def audit(self, common: Mapping[str, str], events: Mapping[str, str] | None = None) -> AuditWriter:
        """As `Delivery.audit`."""
        said = common.get("claimed_by", "")
        return super().audit(
            {**common, "claimed_by": f"{said}, applied by {self.caller}" if said else self.caller}, events
        )


def still_undone(env: Environment, writes: Sequence[Write]) -> list[Write]:
    """The changes whose result the cloud does not show, read now. Raises LinkPeerError if a group cannot be read."""
    retry = env.patient_retry()
    accounts = PersonsAccounts(env.settings, env.policy, env.clock, retry, "apply", reading=env.reading)
    return retry(lambda: undone(accounts, writes))


def applying(
    env: Environment, writes: Sequence[Write], caller: str, progress: Callable[[], None]
) -> tuple[Delivery, Kept]:
    """Return a delivery that makes the changes in `writes` and no others, with its records. What it posts is kept: the
    command carries it out itself, or leaves it to the functions' sweep."""
    kept = Kept()
    ours = env.policy.keys.of_group(instances=True)

    def open_cloud(name: str, retry: Retry) -> Cloud:
        accounts = PersonsAccounts(env.settings, env.policy, env.clock, retry, name, reading=False)
        return Reviewed(accounts, writes, ours, progress)

    made = PersonsDelivery(
        function="apply",
        region=env.settings.region,
        policy=env.policy,
        clock=env.clock,
        open_cloud=open_cloud,
        log=kept.over(SlsAuditLog(env.settings, env.clock)),
        queue=kept,
        seconds=SECONDS,
        current_policy=functools.partial(load_policy, env.settings.policy_path, env.settings.tag_prefix),
        calls_per_minute=env.settings.calls_per_minute,
    )
    made.caller = caller
    return patient(made), kept
