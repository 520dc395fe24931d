"""What a plan was made of, without what surrounded it, so that the same can be planned again and carried out."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from link_peer.app import dispatch, sweeps
from link_peer.domain.errors import BadInput, RedeliveryNeeded
from link_peer.domain.model import Party
from link_peer.domain.request import Hint
from link_peer.engine.scopes.sweep import Run
from link_peer.inbound import events
from link_peer.inbound.requests import DeniedRequest, decode, encode
from link_peer.runtime.delivery import Delivery

from link_peer_cli.access.environment import Environment
from link_peer_cli.review.delivery import Recorder
from link_peer_cli.review.writes import Uid
from link_peer_cli.ui.progress import Count

Instant = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class PlannedLook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A party of the home account to look at, as an event named it: see `Hint`. `event_id` is empty without an
    event."""

    party: Annotated[str, msgspec.Meta(pattern="^(sg|i|eni)-[0-9a-z]{1,60}$")]
    kind: Literal["state", "tags", "moved"]
    event_id: Annotated[str, msgspec.Meta(max_length=128)] = ""
    time: Instant | None = None
    state: Literal["", "Created", "Pending", "Running", "Deleted"] = ""


class SweepInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sweep. `believe_empty` are accounts that really have no instances."""

    believe_empty: tuple[Uid, ...] = ()


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is planned: the parties that events name, then messages as the shared queue would carry them, then a
    sweep."""

    looks: tuple[PlannedLook, ...] = ()
    requests: tuple[dict[str, Any], ...] = ()
    sweep: SweepInput | None = None


class Elements(msgspec.Struct, frozen=True):
    """The elements of a file, by the function that the platform would deliver them to."""

    events: list[object]
    messages: list[object]
    timers: list[object]


def elements_of(raw: bytes) -> Elements:
    """Sort the elements of a file. Raises BadInput if it is no JSON object or array."""
    elements = Elements([], [], [])
    lists = {"auto_link": elements.events, "cross_account": elements.messages, "sweep": elements.timers}
    for element in events.elements(raw, events.MAX_BATCH_BYTES):
        lists[dispatch.function_of(element)].append(element)
    first = elements.messages[0] if len(elements.messages) == 1 else None
    if isinstance(first, dict) and "request_id" in first:
        elements.messages[0] = raw.decode("utf-8", "replace")  # as it was written, with keys that come twice
    return elements


def understood(env: Environment, raw: bytes) -> Input:
    """What a file's elements say. Those that cannot be read, and so change nothing, are left out.

    Raises BadInput for `--out` if a message came through a queue: a file proves nothing about who sent it.
    """
    home, region = env.policy.home, env.settings.region
    looks: list[PlannedLook] = []
    requests: list[dict[str, Any]] = []
    elements = elements_of(raw)
    for element in elements.events:
        with suppress(BadInput):
            hints = events.decode(element, home=home, region=region, keys=env.policy.keys)
            looks += [_look(hint) for hint in hints if isinstance(hint, Hint)]
    for element in elements.messages:
        try:
            message = events.queue_message(element, home=home, region=region)
            decoded = decode(message.body, region=region, now=env.now, names=env.policy.names)
        except (BadInput, DeniedRequest):
            continue
        if message.queue:
            raise BadInput(
                "--out",
                f"{decoded.request_id} came through the queue {message.queue}, and a file cannot prove that: leave it to "
                "the functions, or give the request without its envelope, to be judged as one of the shared queue",
            )
        requests.append(json.loads(encode(decoded)))
    return Input(tuple(looks), tuple(requests), SweepInput() if elements.timers else None)


def _look(hint: Hint) -> PlannedLook:
    fields = {name: getattr(hint, name) for name in ("kind", "event_id", "time", "state")}
    return msgspec.convert({"party": hint.party.id, **fields}, PlannedLook)


def run(plan_input: Input, delivery: Delivery, recorder: Recorder, event_id: str, progress: Count) -> None:
    """Carry it out in a delivery, whose messages go to `recorder`, with what these ask for at once. A transient error
    is recorded as an `attempt`, and stops only its own part. `event_id` names what no event names."""
    look(plan_input, delivery, event_id)
    run_messages([json.dumps(request) for request in plan_input.requests], delivery, recorder)
    if plan_input.sweep is not None:
        with unless_recorded():
            believed = frozenset(plan_input.sweep.believe_empty)
            sweeps.run_sweep(Run(delivery, event_id, believed, progress=progress))


def look(plan_input: Input, delivery: Delivery, event_id: str) -> None:
    """Carry out its looks at parties alone."""
    home = delivery.policy.home
    hints = [Hint(o.event_id or event_id, Party(home, o.party), o.kind, o.time, o.state) for o in plan_input.looks]
    with unless_recorded():
        dispatch.handle_hints(hints, delivery)


def run_messages(messages: Sequence[object], delivery: Delivery, recorder: Recorder) -> None:
    """Carry out messages, then those that were posted meanwhile, until no new one is posted."""
    handled_ids: set[str] = set()
    todo: Sequence[object] = messages
    while True:
        posted = {message.request_id: message for message in recorder.posted if message.request_id not in handled_ids}
        if not todo and not posted:
            return
        handled_ids |= posted.keys()
        with unless_recorded():
            dispatch.handle_elements([*todo, *(encode(message).decode() for message in posted.values())], delivery)
        todo = []


unless_recorded = functools.partial(suppress, RedeliveryNeeded)
"""Ignores trouble that an `attempt` record shows, so that it stops only its own element."""
