"""What is delivered to a function: queue messages, instance events and the sweep's timer."""

from __future__ import annotations

import json
from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One delivery: `name` is unique in a scenario, `after` is its time in seconds from the start of the scenario."""

    name: str
    function: str
    body: bytes
    after: float = 0.0


def stream(*bodies: bytes) -> bytes:
    """Queue messages in the JSON that the stream sends to the function."""
    return json.dumps(
        [{"messageId": f"m-{number}", "messageBody": body.decode()} for number, body in enumerate(bodies, 1)]
    ).encode()


def requests_in(message: Message) -> list[dict[str, Any]]:
    """The requests of a delivery to cross_account; none for other functions."""
    if message.function != "cross_account":
        return []
    return [json.loads(element["messageBody"]) for element in json.loads(message.body)]


def sweep_message(after: float = 0.0) -> Message:
    """The timer's message for the sweep."""
    return Message("sweep", "sweep", b'{"triggerTime": "2027-01-15T08:00:00Z"}', after)
