"""Deliveries of commands: dry runs, what a command may do that a function may not, and where their records go."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from link_peer.app.compose import load_policy, open_delivery
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Party
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.request import Message, SweepAccount
from link_peer.runtime.clock import Clock
from link_peer.runtime.delivery import Connections, Delivery, Throughput
from link_peer.runtime.ports import AuditLog, Cloud, Record
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Settings

from link_peer_cli.access.environment import Environment
from link_peer_cli.access.identity import AccountKeys
from link_peer_cli.access.inputs import is_cloud_name
from link_peer_cli.access.roles import PersonsAccounts
from link_peer_cli.inventory.reading import view_of
from link_peer_cli.review.cloud import ShownRules, TaggedCloud, WhatIf
from link_peer_cli.review.reviewed import Reviewed
from link_peer_cli.review.writes import Write, undone


class Recorder:
    """An `AuditLog` that keeps the records, and writes them to a log if it is put over one; a `Queue` that keeps the
    messages. `posted` are those that would be delivered at once; one with a delay waits for something that a dry run
    cannot wait for, so it is dropped."""

    def __init__(self) -> None:
        self._log: AuditLog | None = None
        self.records: list[Record] = []
        self.posted: list[Message] = []
        self.trouble: LinkPeerError | None = None  # why the log did not take the last records

    def over(self, log: AuditLog) -> AuditLog:
        """Write to `log` from now on, too."""
        self._log = log
        return self

    def write(self, records: Sequence[Record]) -> None:
        """Keep records, after the log has them."""
        if self._log is not None:
            try:
                self._log.write(records)
            except LinkPeerError as error:
                self.trouble = error
                raise
            self.trouble = None
        self.records += records

    def post(self, message: Message | SweepAccount, *, queue: str = "", delay: int = 0) -> None:  # noqa: ARG002  # the Queue port
        """Keep a message."""
        if not delay and not isinstance(message, SweepAccount):
            self.posted.append(message)

    @property
    def outcomes(self) -> list[Record]:
        """The records that are outcomes."""
        return [record for record in self.records if record["record"] == "outcome"]


CLOSING_READERS = 4  # in each account; the accounts are read side by side
READERS = 16  # reads side by side: a person waits, and a call takes tens of milliseconds; the SDK pools 40 connections


def suppose(
    env: Environment, function: str, caches: dict[str, ShownRules] | None = None
) -> tuple[Delivery, WhatIf, Recorder]:
    """Return a delivery that changes, records and posts nothing, with its cloud and its records. `caches` are the rules
    that another such cloud has shown, with which it is compared."""
    recorder = Recorder()
    retry = env.patient_retry()
    accounts = env.accounts(function, retry)
    cloud = WhatIf(accounts, env.settings.region, caches)

    def enter(_name: str, _retry: Retry) -> Cloud:
        return cloud

    connections, throughput = (
        Connections(enter, recorder, recorder),
        Throughput(READERS, 1, env.settings.calls_per_minute),
    )
    delivery = Delivery(function, env.settings.region, env.policy, retry, connections, throughput, supposed=True)
    return delivery, cloud, recorder


def recording(env: Environment, command: str, caller: str) -> tuple[Delivery, Recorder]:
    """Return the delivery of a `command` that changes and records what a function would, in the name of the `caller`,
    with its records."""
    recorder = Recorder()

    def enter(_settings: Settings, _policy: Policy, _clock: Clock, name: str, retry: Retry) -> Cloud:
        return env.accounts(name, retry)

    retry = env.patient_retry()
    delivery = open_delivery(
        command, None, retry=retry, wrap_log=recorder.over, settings=env.recording, open_cloud=enter
    )
    return msgspec.structs.replace(delivery, caller=caller), recorder


def closing(
    env: Environment,
    command: str,
    account_keys: Mapping[str, AccountKeys],
    *,
    caller: str,
    dry_run: bool,
    leaving: Iterable[str] = (),
    reader: Environment | None = None,
) -> tuple[Delivery, Recorder, WhatIf]:
    """Return the delivery of a `command`, in which the accounts that are `leaving` have no links and nothing is opened,
    with its records, which name the `caller`, and the cloud that it changes if `dry_run`. `account_keys` are the
    person's keys of other accounts, by uid. What refuses to be changed is read as `reader` does."""
    policy = msgspec.structs.replace(env.policy, leaving=frozenset(leaving), paused=Pause.OPENING)
    recorder = Recorder()

    acting = msgspec.structs.replace(env, policy=policy, reading=dry_run)

    def enter(name: str, retry: Retry) -> PersonsAccounts:
        accounts = acting.accounts(name, retry, account_keys)
        return accounts.reading_through(reader.accounts(name, retry, account_keys)) if reader else accounts

    supposed = WhatIf(enter("account", env.patient_retry()), env.settings.region)

    def open_cloud(name: str, retry: Retry) -> Cloud:
        return supposed if dry_run else enter(name, retry)

    log = recorder if dry_run else recorder.over(env.log())
    connections, retry = Connections(open_cloud, log, recorder), env.patient_retry()
    throughput = Throughput(CLOSING_READERS)
    delivery = Delivery(
        command, env.settings.region, policy, retry, connections, throughput, caller=caller, supposed=dry_run
    )
    return delivery, recorder, supposed


def as_tagged(
    delivery: Delivery,
    tags: Mapping[Party, Mapping[str, str]],
    instance_tags: Mapping[Party, Mapping[str, str | None]] | None = None,
) -> Delivery:
    """The same delivery, to which groups show these tags besides, whether they could be written or not, and instances
    these tags instead of their own; None for one that is taken off."""
    real = delivery.connections

    def open_cloud(name: str, retry: Retry) -> Cloud:
        return TaggedCloud(real.open_cloud(name, retry), tags, instance_tags or {})

    return msgspec.structs.replace(delivery, connections=msgspec.structs.replace(real, open_cloud=open_cloud))


def still_undone(env: Environment, writes: Sequence[Write]) -> list[Write]:
    """The changes whose result the cloud does not show, read now. Raises LinkPeerError if a group cannot be read."""
    retry = env.patient_retry()
    accounts = env.accounts("apply", retry)
    return retry(lambda: undone(accounts, writes))


def applying(
    env: Environment, writes: Sequence[Write], caller: str, progress: Callable[[], None]
) -> tuple[Delivery, Recorder]:
    """Return a delivery that makes the changes in `writes` and no others, with its records. What it posts is kept: the
    command carries it out itself, or leaves it to the functions' sweep."""
    recorder = Recorder()
    ours = env.policy.keys.of_group(instances=True)

    def open_cloud(name: str, retry: Retry) -> Cloud:
        return Reviewed(env.accounts(name, retry), writes, ours, progress)

    connections = Connections(
        open_cloud,
        recorder.over(env.log()),
        recorder,
        policy_now=functools.partial(load_policy, env.settings.policy_path, env.settings.tag_prefix),
    )
    throughput = Throughput(calls_per_minute=env.settings.calls_per_minute)
    retry = env.patient_retry()
    return Delivery("apply", env.settings.region, env.policy, retry, connections, throughput, caller=caller), recorder


def by_cloud_name(env: Environment, text: str, field: str) -> str:
    """`sg-…@<uid>` for the name that a group or an instance has in the cloud; an id, or a name of the policy, as it is.
    No command that opens takes such names: who may rename a group could choose which group is opened.

    Raises BadInput for `field` if there is no such party, or more than one.
    """
    return str(view_of(suppose(env, "find")[0]).find(text, field)) if is_cloud_name(text) else text
