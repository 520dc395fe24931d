"""Operations on the consumer groups of a logstore."""

from __future__ import annotations

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Response, loads
from aliyun_local.sls.codec import as_json
from aliyun_local.sls.settings import Settings


class Consuming(Settings):
    """A request of a verified caller. Each operation is a method named `_<Operation>`."""

    def _CreateConsumerGroup(self) -> None:  # noqa: N802 - named as the operation is
        body = self.json_body()
        with self.backend.consumer_groups(*self.store) as groups:
            groups.create(body.get("consumerGroup"), body.get("timeout"), body.get("order", False))

    def _ListConsumerGroup(self) -> Response:  # noqa: N802
        with self.backend.consumer_groups(*self.store) as groups:
            return as_json(
                [{"name": group.name, "timeout": group.timeout, "order": group.order} for group in groups.values()]
            )

    def _UpdateConsumerGroup(self) -> None:  # noqa: N802
        body = self.json_body()
        with self.backend.consumer_groups(*self.store) as groups:
            groups.change(self.path["group"], body.get("timeout"), body.get("order"))

    def _DeleteConsumerGroup(self) -> None:  # noqa: N802
        with self.backend.consumer_groups(*self.store) as groups:
            del groups[groups.find(self.path["group"]).name]

    def _ConsumerGroupHeartBeat(self) -> Response:  # noqa: N802
        reported = self._shards()
        with self.backend.consumer_groups(*self.store) as groups:
            group = groups.find(self.path["group"])
            consumer = self.query.get("consumer", "")
            if not consumer:
                raise ApiError("ParameterInvalid", 400, "consumer is empty")
            return as_json(group.heartbeat(consumer, reported, self._existing(), self.backend.now()))

    def _shards(self) -> list[int]:
        """The body: a list, or an object with the key `shards` [doc HeartBeat shows either]."""
        try:
            body = loads(self.body("application/json") or b"[]")
        except ValueError as problem:
            raise ApiError("PostBodyInvalid", 400) from problem
        shards = body.get("shards", []) if isinstance(body, dict) else body
        if not isinstance(shards, list) or not all(type(shard) is int for shard in shards):
            raise ApiError("JsonInfoInvalid", 400, "shards is of error format.")
        return shards

    def _existing(self) -> range:
        return range(len(self.backend.logstore(*self.store).shards))

    def _ConsumerGroupUpdateCheckPoint(self) -> None:  # noqa: N802
        body = self.json_body()
        shard, cursor = body.get("shard"), body.get("checkpoint")
        with self.backend.consumer_groups(*self.store) as groups:
            group = groups.find(self.path["group"])
            if type(shard) is not int or not isinstance(cursor, str):
                raise ApiError("JsonInfoInvalid", 400, "shard or checkpoint is of error format.")
            if shard not in self._existing():
                raise ApiError("ShardNotExist", 404)
            force = self.query.get("forceSuccess", "").lower() == "true"
            group.save(shard, cursor, self.query.get("consumer", ""), self.backend.now(), force=force)

    def _GetCheckPoint(self) -> Response:  # noqa: N802
        with self.backend.consumer_groups(*self.store) as groups:
            group = groups.find(self.path["group"])
            shards = [self.integer("shard")] if self.query.get("shard") else self._existing()
            if not set(shards) <= set(self._existing()):
                raise ApiError("ShardNotExist", 404)
            return as_json(list(group.checkpoint_rows(shards)))
