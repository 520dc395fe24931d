"""One delivery: what handling one event, batch or timer needs of the world. All of it is passed in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from link_peer.domain.policy import Policy
from link_peer.domain.request import Message
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.clock import Clock
from link_peer.runtime.memory import Memory
from link_peer.runtime.merged import MergedCloud, MergedLog
from link_peer.runtime.ports import AuditLog, Cloud, Queue
from link_peer.runtime.retry import Retry

MARGIN = 0.15  # of the function's time is kept for the outcomes
DEFAULT_SECONDS = 60.0  # where nothing says how long the function may run
READERS = 4  # threads; ECS limits calls per minute, so more of them gain little
LANES = 16  # threads; as many as a batch has messages, since most of their time is spent waiting for answers


class Delivery:
    """The world of one delivery. `open_cloud(name, retry)` opens the accounts; the name ties role sessions to the event
    or request. `readers` is how many reads may run side by side, `lanes` how many messages of a batch. `current_policy` reads
    the policy again. `memory` outlives the delivery. `calls_per_minute` is how many calls of each API of ECS an account may
    make; None where that is not known. `dead_letters` counts the messages of the dead-letter queue; it may raise
    LinkPeerError. `supposed`: a dry run, whose cloud keeps what would be changed."""

    def __init__(
        self,
        *,
        function: str,
        region: str,
        policy: Policy,
        clock: Clock,
        open_cloud: Callable[[str, Retry], Cloud],
        log: AuditLog,
        queue: Queue,
        dead_letters: Callable[[], int] | None = None,
        seconds: float = DEFAULT_SECONDS,
        readers: int = READERS,
        lanes: int = 1,
        current_policy: Callable[[], Policy] | None = None,
        memory: Memory | None = None,
        calls_per_minute: int | None = None,
        supposed: bool = False,
    ) -> None:
        self.function = function
        self.region = region
        self.policy = policy
        self.clock = clock
        self.retry = Retry(clock, clock.now() + seconds * (1 - MARGIN))
        self.log = log
        self.queue = queue
        self.dead_letters = dead_letters
        self.readers = readers
        self.lanes = lanes
        self.memory = memory or Memory()
        self.calls_per_minute = calls_per_minute
        self.supposed = supposed
        self._open_cloud = open_cloud
        self._current_policy = current_policy

    def cloud(self, name: str) -> Cloud:
        """The way into each account, for one event or request."""
        return self._open_cloud(name, self.retry)

    def merged(self, name: str) -> Delivery:
        """The same delivery for messages that are handled side by side: one thread each, and what they read or record at the
        same time is one call. `name` ties their role sessions to the batch."""
        made = copy.copy(self)
        cloud = MergedCloud(self.cloud(name))
        made.readers, made.log, made._open_cloud = 1, MergedLog(self.log), lambda _name, _retry: cloud
        return made

    def post(self, message: Message, *, queue: str = "", delay: int = 0) -> None:
        """Puts a message on a queue (as `Queue.post`), with retries. Raises Transient."""
        self.retry(lambda: self.queue.post(message, queue=queue, delay=delay))

    def current_policy(self) -> Policy:
        """The policy as it is now: it is looked at again right before each write."""
        return self._current_policy() if self._current_policy else self.policy

    def out_of_time(self) -> bool:
        """Whether the function's time is nearly over: no change may begin."""
        return self.clock.now() >= self.retry.deadline

    def audit(self, common: Mapping[str, str], events: Mapping[str, str] | None = None) -> AuditWriter:
        """A writer of this delivery's records; `common` is what they share beside function, deployment and region."""
        fields = {
            "function": self.function,
            "deployment": self.policy.deployment,
            "region": self.region,
            **common,
        }
        return AuditWriter(self.log, fields, self.retry, events)
