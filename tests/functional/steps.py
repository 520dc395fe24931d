"""Which calls of a delivery wait for which: what runs side by side is counted as such, whatever the machine is doing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import pytest
from link_peer.engine.read.access import Access
from link_peer_local.core.http import Request, Response

from tests.functional.lab import Lab


def steps(lab: Lab, deliver: Callable[[], object]) -> list[list[str]]:
    """The actions that one delivery calls, those together that wait for equally many calls before them. Every call takes one
    step; reads that the functions make side by side start at the same one, as far as there are threads for them."""
    made: list[tuple[int, str]] = []
    step = 0
    handle = lab.cloud.handle

    def counted(request: Request) -> Response:
        nonlocal step
        step += 1
        number = len(lab.cloud.faults.calls)
        answer = handle(request)
        made.extend((step, call.action) for call in list(lab.cloud.faults.calls)[number:])
        return answer

    def side_by_side(access: Access, reads: Sequence[Callable[[], object]], threads: int | None = None) -> None:
        nonlocal step
        free = [step] * max(1, min(threads or access.threads, len(reads)))
        for read in reads:
            step = heapq.heappop(free)
            read()
            heapq.heappush(free, step)
        step = max(free)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab.cloud, "handle", counted)
        patch.setattr(Access, "side_by_side", side_by_side)
        deliver()
    return [sorted(action for at, action in made if at == one) for one in sorted({at for at, _ in made})]


def step_of(found: Sequence[Sequence[str]], action: str) -> int:
    """The step of the first call of an action, from 1."""
    return next(number for number, actions in enumerate(found, 1) if action in actions)
