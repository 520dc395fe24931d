"""One delivery: what handling one event, batch or timer needs of the world. All of it is passed in."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from link_peer.domain.errors import Transient
from link_peer.domain.model import Instance, Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.request import Look, Message, SweepAccount
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import AuditLog, Cloud, Queue, Record
from link_peer.runtime.retry import Retry
from link_peer.runtime.side_by_side import MergedCloud, MergedLog

MARGIN = 0.15  # of the function's time is kept for the outcomes
DEFAULT_SECONDS = 60.0  # where nothing says how long the function may run
READERS = 4  # threads; ECS limits calls per minute, so more of them gain little
REMEMBERED = 10_000  # instances whose groups one process remembers
PAUSE_SECONDS = 5  # without work, after which one process begins anew
TIMER = "timer"
"""The actor of what neither an event, a message nor a person asked for."""
LANES = 16  # threads; as many as a batch has messages, since most of their time is spent waiting for answers


class Connections(msgspec.Struct, frozen=True):
    """What a delivery talks to."""

    # (name, retry): opens the accounts; the name, of the event or request, is that of role sessions
    open_cloud: Callable[[str, Retry], Cloud]
    log: AuditLog
    queue: Queue
    # counts the messages of the dead-letter queue; may raise LinkPeerError
    dead_letters: Callable[[], int] | None = None
    policy_now: Callable[[], Policy] | None = None  # reads the policy again
    sweep_queue: str = ""  # the queue for sweeps of single accounts; empty where there is none


class Throughput(msgspec.Struct, frozen=True):
    """What a delivery may do at a time."""

    readers: int = READERS  # reads side by side
    lanes: int = 1  # messages of a batch side by side
    calls_per_minute: int | None = None  # of each API of ECS in an account; None: not known


class Memory:
    """The groups in which instances were last seen, and when it last had work: hints, which one instance of a function
    keeps from one delivery to the next, and never facts.

    The cloud no longer tells which groups a released instance was in. Where this process saw it before, the rules of
    those groups are looked at at once; otherwise the sweep finds what nobody asks for any more.
    """

    def __init__(self) -> None:
        self._groups: dict[Party, tuple[str, ...]] = {}
        self._worked = -math.inf

    def begins_after_pause(self, now: float) -> bool:
        """Whether work begins after a pause (`now` in epoch seconds): perhaps together with that of other instances of
        the function, which were asked at the same moment."""
        before, self._worked = self._worked, now
        return now - before > PAUSE_SECONDS

    def note(self, instance: Instance) -> None:
        """Remembers the instance's groups. Of too many, the one noted first is forgotten."""
        self._groups.pop(instance.party, None)
        self._groups[instance.party] = instance.groups
        if len(self._groups) > REMEMBERED:
            del self._groups[next(iter(self._groups))]

    def groups(self, instance: Party) -> set[Party]:
        """The groups in which the instance was last seen; none if it was not."""
        return {Party(instance.account, group) for group in self._groups.get(instance, ())}


M = TypeVar("M", bound=Message)


class DeliveryOutput:
    """What one delivery has posted and recorded, so that it says nothing twice.

    Of the messages that it makes out of those that it was given, it posts at most `limits.max_peers` of the policy, so
    that nobody multiplies messages. One that is put back is not counted. `refused_tags` is what a record says of
    managed tags that were refused, by account or group. `tags` are those of the groups that its events are about, as
    they were read first.
    """

    def __init__(self) -> None:
        self.refused_tags: dict[str, str] = {}
        self.tags: dict[Party, Mapping[str, str]] = {}
        self._subjects: set[Party | Link] = set()
        self._lock = threading.Lock()

    def take(self, messages: Sequence[M], limit: int) -> tuple[list[M], int]:
        """Of these, in their order, those that may be posted; and how many more would have been."""
        with self._lock:
            fresh = {key: message for message in messages if (key := subject(message)) not in self._subjects}
            fitting = list(fresh)[: max(0, limit - len(self._subjects))]
            self._subjects.update(fitting)
        return [fresh[key] for key in fitting], len(fresh) - len(fitting)


def subject(message: Message) -> Party | Link:
    """What a look or a sync is about: two that are about the same ask for the same."""
    return message.party if isinstance(message, Look) else Link(message.link.source, message.link.target)


class Delivery(msgspec.Struct, frozen=True):
    """The world of one delivery."""

    function: str
    region: str
    policy: Policy
    retry: Retry  # ends with the delivery's time
    connections: Connections
    throughput: Throughput = Throughput()
    memory: Memory = msgspec.field(default_factory=Memory)  # outlives it
    caller: str = ""  # the person who runs a command (an ARN), whom records name
    supposed: bool = False  # a dry run: its cloud keeps what would be changed
    output: DeliveryOutput = msgspec.field(default_factory=DeliveryOutput)  # what it has posted and recorded

    @property
    def clock(self) -> Clock:
        """The time of this delivery."""
        return self.retry.clock

    def cloud(self, name: str) -> Cloud:
        """The way into each account, for one event or request."""
        return self.connections.open_cloud(name, self.retry)

    def merged(self, name: str) -> Delivery:
        """The same delivery for messages that are handled side by side: one thread each, and what they read or record
        at the same time is one call. `name` ties their role sessions to the batch."""
        cloud = MergedCloud(self.cloud(name))
        merged = msgspec.structs.replace(
            self.connections, open_cloud=lambda _name, _retry: cloud, log=MergedLog(self.connections.log)
        )
        throughput = msgspec.structs.replace(self.throughput, readers=1)
        return msgspec.structs.replace(self, connections=merged, throughput=throughput)

    def post(self, message: Message | SweepAccount, *, queue: str = "", delay: int = 0) -> None:
        """Puts a message on a queue (as `Queue.post`), with retries. Raises Transient."""
        self.retry(lambda: self.connections.queue.post(message, queue=queue, delay=delay))

    def post_sweep(self, account: str, cursor: object = None, delay: int = 0) -> None:
        """Has an account swept, from a cursor, after `delay` seconds. Raises Transient."""
        message = SweepAccount(self.region, account, self.clock.now(), cursor)
        self.post(message, queue=self.connections.sweep_queue, delay=delay)

    def current_policy(self) -> Policy:
        """The policy as it is now: it is looked at again right before each write, and after it. Raises Transient where
        the file now names another deployment or home account."""
        policy = self.connections.policy_now() if self.connections.policy_now else self.policy
        if (policy.home, policy.deployment) != (self.policy.home, self.policy.deployment):
            raise Transient("the policy file now names another deployment or home account")
        return policy

    def out_of_time(self) -> bool:
        """Whether the function's time is nearly over: no change may begin."""
        return self.clock.now() >= self.retry.deadline

    def audit(self, common: Mapping[str, str], events: Mapping[str, Record] | None = None) -> AuditWriter:
        """A writer of this delivery's records; `common` is what they share beside function, deployment and region. The
        caller is named beside whom a request names, and is the actor; where nobody is, the timer is."""
        fields = {
            "function": self.function,
            "deployment": self.policy.deployment,
            "region": self.region,
            "actor": TIMER,
            **common,
        }
        if self.caller:
            claimant = common.get("claimed_by", "")
            fields["claimed_by"] = f"{claimant}, applied by {self.caller}" if claimant else self.caller
            fields["actor"] = self.caller
        return AuditWriter(self.connections.log, fields, self.retry, events)


def within(clock: Clock, seconds: float) -> Retry:
    """Retries for as long as a function may run that began now, but for what is kept for its outcomes."""
    return Retry(clock, clock.now() + seconds * (1 - MARGIN))
