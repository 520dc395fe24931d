"""The queues: for requests that all accounts share, of single accounts, and for what could not be delivered."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from link_peer.alicloud import mns
from link_peer.domain.errors import CloudError
from link_peer_deploy.description import HIDDEN_SECONDS, MESSAGE_SECONDS

from link_peer_cli.setup.resource import Changeable, Resource, SetupTarget, State
from link_peer_cli.setup.sdk import queue_call

PAGE = 1000
"""Queues of a page, at most [doc ListQueue]."""

FIELDS = {"seconds": "MessageRetentionPeriod", "hidden": "VisibilityTimeout"}


def resources(deployment: SetupTarget) -> list[Resource]:
    """The dead-letter queue, the shared queue, and the bound queues of the policy."""
    listed, bound, start = Listed(deployment), deployment.policy.bound_queues, f"{deployment.names.queue}-"
    return [
        QueueResource(deployment, name, listed if name in bound and name.startswith(start) else None)
        for name in deployment.description.queues
    ]


def misnamed(deployment: SetupTarget) -> list[tuple[str, str, str]]:
    """The (account, name, what it must begin with) of each bound queue that the functions' role does not cover: they
    put messages back on it."""
    start = f"{deployment.names.queue}-"
    bound = sorted(deployment.policy.bound_queues.items())
    return [(uid, name, start) for name, uid in bound if not name.startswith(start)]


class Listed:
    """The well-named queues of single accounts, as one listing shows them: a call for each of a thousand would take
    minutes."""

    def __init__(self, deployment: SetupTarget) -> None:
        self._deployment = deployment

    @functools.cached_property
    def states(self) -> Mapping[str, State]:
        """Their states by name; empty where the listing does not show attributes, which are asked for by a header that
        the official SDKs know and the page does not [src aliyun-mns-sdk 1.3.0]."""
        from mns import mns_request as sdk  # an SDK: when it is asked, since help needs none

        names, policy = self._deployment.names, self._deployment.policy
        client, states, answer = mns.account(self._deployment.settings, policy.home).mns_client, {}, None
        while answer is None or answer.next_marker:
            request = sdk.ListQueueRequest(
                f"{names.queue}-", PAGE, answer.next_marker if answer else "", with_meta=True
            )
            answer = sdk.ListQueueResponse()
            queue_call(functools.partial(client.list_queue, request, answer))
            for url, meta in zip(answer.queueurl_list, answer.queuemeta_list, strict=True):
                attributes = {ours: meta.get(theirs) for ours, theirs in FIELDS.items()}
                states[url.rpartition("/")[2]] = (
                    {} if None in attributes.values() else {k: int(v) for k, v in attributes.items()}
                )
        return states


class QueueResource(Changeable):
    """A queue that keeps a message for a week, the longest, and hides one that was received while a function has it.
    Its other attributes are its owner's choice."""

    kind = "queue"

    def __init__(self, deployment: SetupTarget, name: str, listed: Listed | None = None) -> None:
        self.deployment = deployment
        self.name = name
        self._listed = listed

    @property
    def target_state(self) -> State:
        """How many seconds it keeps a message, and hides one."""
        return {"seconds": MESSAGE_SECONDS, "hidden": HIDDEN_SECONDS}

    @property
    def _queue(self) -> Any:
        return mns.account(self.deployment.settings, self.deployment.policy.home).get_queue(self.name)

    def read(self) -> State | None:
        """How many seconds it keeps a message, and hides one."""
        if self._listed and (state := self._listed.states.get(self.name)) != {}:
            return state
        try:
            answer = mns.attributes(self.deployment.settings, self.deployment.policy.home, self.name)
        except CloudError as error:
            if error.code != "QueueNotExist":
                raise
            return None
        return {"seconds": answer.message_retention_period, "hidden": answer.visibility_timeout}

    def create(self) -> None:
        """Create it."""
        from mns.queue import QueueMeta  # an SDK: when it is asked, since help needs none

        queue_call(lambda: self._queue.create(QueueMeta(HIDDEN_SECONDS, msg_ttl=MESSAGE_SECONDS)))

    def update(self) -> None:
        """Set its attributes."""
        from mns.queue import QueueMeta  # an SDK: when it is asked, since help needs none

        queue_call(lambda: self._queue.set_attributes(QueueMeta(HIDDEN_SECONDS, msg_ttl=MESSAGE_SECONDS)))

    def delete(self) -> None:
        """Delete it with its messages."""
        queue_call(self._queue.delete, {"QueueNotExist"})
