"""One delivery: what handling one event, batch or timer needs of the world. All of it is passed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from link_peer.domain.policy import Policy
from link_peer.domain.request import Request
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import AuditLog, Cloud, Queue
from link_peer.runtime.retry import Retry

MARGIN = 0.15  # of the function's time is kept for the outcomes
DEFAULT_SECONDS = 60.0  # where nothing says how long the function may run
READERS = 4  # threads; ECS limits calls per minute, so more of them gain little


class Delivery:
    """The world of one delivery. `open_cloud(name, retry)` opens the accounts; the name ties role sessions to the event
    or request. `readers` is how many reads may run side by side."""

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
        seconds: float = DEFAULT_SECONDS,
        readers: int = READERS,
    ) -> None:
        self.function = function
        self.region = region
        self.policy = policy
        self.clock = clock
        self.retry = Retry(clock, clock.now() + seconds * (1 - MARGIN))
        self.log = log
        self.queue = queue
        self.readers = readers
        self._open_cloud = open_cloud

    def cloud(self, name: str) -> Cloud:
        """The way into each account, for one event or request."""
        return self._open_cloud(name, self.retry)

    def post(self, request: Request) -> None:
        """Puts a request on its queue, with retries. Raises Transient."""
        self.retry(lambda: self.queue.post(request))

    def audit(self, common: Mapping[str, str], events: Mapping[str, str] | None = None) -> AuditWriter:
        """A writer of this delivery's records; `common` is what they share beside function, deployment and region."""
        fields = {
            "function": self.function,
            "deployment": self.policy.deployment,
            "region": self.region,
            **common,
        }
        return AuditWriter(self.log, fields, self.retry, events)
