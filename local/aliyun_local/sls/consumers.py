"""Consumer groups: consumers that share the shards of a logstore, and how far each shard has been read.

A consumer says by heartbeats that it lives and which shards it is reading, and learns which it should read. A shard
changes hands only when its reader has stopped: it no longer reports the shard, or sends no heartbeat for `timeout`
seconds [doc CreateConsumerGroup, HeartBeat]. How shards are divided is undocumented: evenly here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterator
from typing import Any

from msgspec import Struct, field

from aliyun_local.core.errors import ApiError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,126}[A-Za-z0-9]")


class Checkpoint(Struct, frozen=True):
    """A cursor, who saved it, and when, in microseconds since the epoch."""

    cursor: str = ""
    consumer: str = ""
    updated: int = 0


class Consumer(Struct):
    """The time of the last heartbeat, the shards it reported then, and those it was told to read."""

    heartbeat_at: float
    reported: set[int]
    assigned: set[int]


class ConsumerGroup(Struct):
    """A group; `timeout` in seconds. `order` is kept, and means nothing here: shards are never split."""

    name: str
    timeout: int
    order: bool
    consumers: dict[str, Consumer] = field(default_factory=dict)
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)

    def heartbeat(self, name: str, reported: Collection[int], shards: range, now: float) -> list[int]:
        """The shards that this consumer should read from now on."""
        self._forget(now)
        consumer = self.consumers.setdefault(name, Consumer(now, set(), set()))
        consumer.heartbeat_at, consumer.reported = now, set(reported)
        share = -(-len(shards) // len(self.consumers))
        for shard in sorted(consumer.assigned, reverse=True)[: max(0, len(consumer.assigned) - share)]:
            consumer.assigned.discard(shard)
        peers = [peer for peer in self.consumers.values() if peer is not consumer]
        taken_shards = {shard for peer in peers for shard in peer.reported | peer.assigned}
        for shard in shards:
            if shard not in taken_shards and len(consumer.assigned) < share:
                consumer.assigned.add(shard)
        return sorted(consumer.assigned)

    def save(self, shard: int, cursor: str, consumer: str, now: float, *, force: bool) -> None:
        """Note how far a shard has been read. Without `force`, only the shard's present reader may."""
        try:
            base64.b64decode(cursor, validate=True)
        except binascii.Error:
            raise ApiError("InvalidShardCheckPoint", 400) from None
        self._forget(now)
        if not force:
            reader = self.consumers.get(consumer)
            if reader is None:
                raise ApiError("ConsumerNotExist", 404)
            if shard not in reader.assigned | reader.reported:
                raise ApiError("ConsumerNotMatch", 400)
        self.checkpoints[shard] = Checkpoint(cursor, consumer, int(now * 1_000_000))

    def checkpoint_rows(self, shards: Collection[int]) -> Iterator[dict[str, Any]]:
        """The checkpoints as GetCheckPoint lists them; that of a shard that nobody has read is empty."""
        for shard in shards:
            checkpoint = self.checkpoints.get(shard, Checkpoint())
            yield {
                "shard": shard,
                "checkpoint": checkpoint.cursor,
                "updateTime": checkpoint.updated,
                "consumer": checkpoint.consumer,
            }

    def _forget(self, now: float) -> None:
        for name in [name for name, consumer in self.consumers.items() if now - consumer.heartbeat_at > self.timeout]:
            del self.consumers[name]


class ConsumerGroups(dict[str, ConsumerGroup]):
    """The consumer groups of a logstore by name."""

    def create(self, name: Any, timeout: Any, order: Any) -> None:
        """Add a group; ApiError for an invalid or an existing one."""
        valid = isinstance(name, str) and _NAME.fullmatch(name)
        if not valid or type(timeout) is not int or timeout < 1 or not isinstance(order, bool):
            raise ApiError("JsonInfoInvalid", 400)
        if name in self:
            raise ApiError("ConsumerGroupAlreadyExist", 400)
        self[name] = ConsumerGroup(name, timeout, order)

    def change(self, name: str, timeout: Any, order: Any) -> None:
        """Change a group's settings; None leaves one as it is."""
        group = self.find(name)
        timeout, order = group.timeout if timeout is None else timeout, group.order if order is None else order
        if type(timeout) is not int or timeout < 1 or not isinstance(order, bool):
            raise ApiError("JsonInfoInvalid", 400)
        group.timeout, group.order = timeout, order

    def find(self, name: str) -> ConsumerGroup:
        """One group; ApiError ConsumerGroupNotExist."""
        if name not in self:
            raise ApiError("ConsumerGroupNotExist", 404)
        return self[name]
