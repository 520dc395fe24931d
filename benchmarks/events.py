"""What the functions are given: state changes, tag changes, messages of a queue, a timer."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.worlds import HOME

_numbers = itertools.count(1)


def timer() -> str:
    """The sweep's timer fires now."""
    return json.dumps({"triggerTime": _now(), "triggerName": "every-10m", "payload": "sweep"})


def launched(instance: str) -> str:
    """An instance runs now."""
    return _event("ecs:Instance:StateChange", {"resourceId": instance, "state": "Running"})


def untagged(instance: str) -> str:
    """A person removed a tag of an instance."""
    resources = {"ACS::ECS::Instance": [instance]}
    return _event("ecs:ActionTrail:ApiCall", {"eventName": "UntagResources", "referencedResources": resources})


def _event(kind: str, data: dict[str, Any]) -> str:
    return json.dumps({**_envelope("acs.ecs", kind), "data": data})


def messages(bodies: Sequence[str], queue: str) -> str:
    """A batch, as the queue's stream pushes it."""
    subject = f"acs:mns:cn-qingdao:{HOME}:queues/{queue}"
    return json.dumps(
        [
            {
                **_envelope("MNS-Function-requests", "mns:Queue:SendMessage"),
                "subject": subject,
                "data": {"messageBody": body},
            }
            for body in bodies
        ]
    )


def _envelope(source: str, kind: str) -> dict[str, Any]:
    common = {"specversion": "1.0", "time": _now(), "aliyunaccountid": HOME}
    return {"id": f"bench-{next(_numbers)}", "source": source, "type": kind, **common}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
