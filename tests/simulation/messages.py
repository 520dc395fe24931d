"""What is delivered to a function: queue messages, instance events and the sweep's timer."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tests.simulation.world import HOME, REGION, SHARED_QUEUE, SWEEPS, Queued


class Message(msgspec.Struct, frozen=True):
    """One delivery: `name` is unique in a scenario, `after` is its time in seconds from the start of the scenario,
    `queue` the queue that it came through."""

    name: str
    function: str
    body: bytes
    after: float = 0.0
    queue: str = SHARED_QUEUE


def stream(*bodies: bytes, queue: str = SHARED_QUEUE) -> bytes:
    """Queue messages in the JSON that the stream sends to the function; those of a queue with a name say which it
    is."""
    elements: list[dict[str, Any]] = [
        {"messageId": f"m-{number}", "messageBody": body.decode()} for number, body in enumerate(bodies, 1)
    ]
    if queue:
        subject = f"acs:mns:{REGION}:{HOME}:queues/{queue}"
        elements = [
            {"id": element["messageId"], "specversion": "1.0", "subject": subject, "data": element}
            for element in elements
        ]
    return json.dumps(elements).encode()


def from_queue(queued: Queued) -> Message:
    """A message of a queue, as the stream delivers it."""
    function = "sweep" if queued.queue == SWEEPS else "cross_account"
    return Message("queued", function, stream(queued.body, queue=queued.queue), queue=queued.queue)


def messages_in(message: Message) -> list[dict[str, Any]]:
    """The requests and looks of a delivery to cross_account; none for other functions."""
    if message.function != "cross_account":
        return []
    elements = [element.get("data", element) for element in json.loads(message.body)]
    return [json.loads(element["messageBody"]) for element in elements]


def released_in(message: Message) -> str:
    """The id of the instance that an event says was released; empty for any other message."""
    body = json.loads(message.body) if message.function == "auto_link" else {}
    data = body.get("data", {})
    return str(data["resourceId"]) if data.get("state") == "Deleted" else ""


def requests_in(message: Message) -> list[dict[str, Any]]:
    """The requests alone."""
    return [body for body in messages_in(message) if body.get("action") != "look"]


def sweep_message(after: float = 0.0) -> Message:
    """The timer's message for the sweep."""
    return Message("sweep", "sweep", b'{"triggerTime": "2027-01-15T08:00:00Z"}', after)
