"""What the timer of cross_account asks for, where the accounts' own queues are too many for a trigger each: read them
all.

The function receives, carries out, and deletes. Whatever is not deleted comes again, so a crash loses nothing, and a
queue proves who asks as it does behind a trigger: the name is that of the queue that was read.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from link_peer.app.dispatch import Outcomes, handle_elements, raise_first
from link_peer.runtime.delivery import LANES, Delivery, DeliveryOutput
from link_peer.runtime.side_by_side import Job, run_jobs

if TYPE_CHECKING:
    from link_peer.alicloud.own_queues import OwnQueues, Received

READERS = 8
QUEUES = 64
"""Read at a time, before what they gave is carried out."""
MOST = 4
"""Messages of one queue at a time, so that no account has the function to itself."""
SECONDS = 45.0
"""After which nothing more is received: the timer fires again after a minute."""
ATTEMPTS = 100
"""How often a message is received before it is a dead letter. It is hidden for minutes each time, so that takes
hours."""


def asked_by_timer(event: bytes) -> bool:
    """Whether a delivery is the timer's [doc FC timer trigger]: a stream pushes arrays, whatever its messages say."""
    return event.lstrip().startswith(b"{") and b'"triggerTime"' in event[:256]


def collect(queues: OwnQueues, delivery: Delivery) -> Outcomes:
    """Carries out the messages on the accounts' own queues, in an order that changes with the minute. When all are
    done, raises if a queue could not be read, or if a message must be delivered again."""
    outcomes: Outcomes = Counter()
    troubles: list[Exception] = []
    began = delivery.clock.now()
    names = sorted(delivery.policy.bound_queues)
    random.Random(began // 60).shuffle(names)  # noqa: S311  # turns, not a secret
    while names and delivery.clock.now() < began + SECONDS:
        now, names = names[:QUEUES], names[QUEUES:]
        shares = [now[number::READERS] for number in range(min(READERS, len(now)))]
        messages: list[Received] = []
        for answer in run_jobs(
            [Job(functools.partial(queues.receive, share, MOST), frozenset()) for share in shares], READERS
        ):
            messages += () if isinstance(answer, Exception) else answer[0]
            troubles += (answer,) if isinstance(answer, Exception) else answer[1]
        counts = Counter(message.queue for message in messages)
        names += [name for name in now if counts[name] == MOST]  # perhaps it holds more
        for batch in _batches(messages):
            try:
                outcomes += _carry_out(batch, queues, delivery)
            except Exception as trouble:
                troubles.append(trouble)
    raise_first(troubles)
    return outcomes


def _batches(messages: Sequence[Received]) -> list[list[Received]]:
    """Those that came before are alone, so that one that always fails holds up no other."""
    fresh = [message for message in messages if message.times == 1]
    return [fresh[at : at + LANES] for at in range(0, len(fresh), LANES)] + [
        [message] for message in messages if message.times != 1
    ]


def _carry_out(batch: Sequence[Received], queues: OwnQueues, delivery: Delivery) -> Outcomes:
    if batch[0].times >= ATTEMPTS:
        queues.dead_letter(batch[0])
        return Counter()
    # each batch is a delivery of its own: what one has posted limits no other
    outcomes = handle_elements(
        [message.element for message in batch], msgspec.structs.replace(delivery, output=DeliveryOutput())
    )
    queues.delete(batch)
    return outcomes
