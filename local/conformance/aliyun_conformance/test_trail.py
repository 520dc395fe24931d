"""What ActionTrail shows of a call, and how soon."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from aliyun_conformance.bench import PERMISSION, Bench
from aliyun_conformance.errors import CloudError
from aliyun_conformance.question import Need


def _looked_up(bench: Bench, began: float) -> list[dict[str, Any]]:
    """The AuthorizeSecurityGroup events that ActionTrail shows since then."""
    start, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t)) for t in (began - 60, bench.clock.now() + 60))
    answer = bench.sdks.raw(
        "actiontrail",
        "LookupEvents",
        StartTime=start,
        EndTime=end,
        MaxResults="50",
        LookupAttribute_1_Key="EventName",
        LookupAttribute_1_Value="AuthorizeSecurityGroup",
    )
    return list(answer.get("Events", []))


@pytest.mark.real_cloud(81, expected="an event with B's id; the report has its delay")
def test_action_trail(bench: Bench) -> None:
    """ActionTrail's LookupEvents shows a call within 10 minutes, with its RequestId."""
    a, b, began = bench.group(), bench.group(), bench.clock.now()
    bench.authorize(b, {"source_group_id": a})

    def look() -> str:
        return next((json.dumps(event) for event in _looked_up(bench, began) if b in json.dumps(event)), "")

    text = bench.until(look, bool, bench.options.event_seconds)
    assert text, f"not within {bench.options.event_seconds:.0f} s"
    seconds = round(bench.clock.now() - began)
    bench.saw(f"after {seconds} s", {"seconds": seconds, "event": json.loads(text)})
    assert "requestId" in text


@pytest.mark.real_cloud(
    130, Need.ROLE, expected="two events with the ids of both responses, one of them with an `errorCode`"
)
def test_trail_form(bench: Bench) -> None:
    """An event of ActionTrail has the `RequestId` of the call's response, `<role>:<session>` as `userIdentity.userName`, the parameters as on the wire, and for a refused call an `errorCode`."""
    a, b, began = bench.group(), bench.group(), bench.clock.now()
    session = bench.session({"Effect": "Allow", "Action": ["ecs:AuthorizeSecurityGroup"], "Resource": ["*"]})
    permissions = [{**PERMISSION, "source_group_id": a}, {**PERMISSION, "source_group_id": a, "port_range": "9/1"}]
    ids = []
    for fields in permissions:
        permission = [bench.models.AuthorizeSecurityGroupRequestPermissions(**fields)]
        try:
            ids.append(session.ask("authorize_security_group", security_group_id=b, permissions=permission).request_id)
        except CloudError as error:
            ids.append(error.request_id)

    def look() -> list[Any]:
        return [event for event in _looked_up(bench, began) if _parameters(event).get("SecurityGroupId") == b]

    events = bench.until(look, lambda events: len(events) == len(permissions), bench.options.event_seconds)
    by_id = {event.get("requestId"): event for event in events}
    role = f"{bench.options.role.rpartition('/')[2]}:selftest-{bench.run}".lower()
    accepted, refused = (by_id.get(request_id, {}) for request_id in ids)
    fits = {
        "ids": set(by_id) == set(ids),
        "name": {str(event["userIdentity"].get("userName")).lower() for event in events} == {role},
        "parameters": _parameters(accepted).get("Permissions.1.SourceGroupId") == a,
        "errorCode": bool(accepted) and not accepted.get("errorCode") and bool(refused.get("errorCode")),
    }
    bench.saw(", ".join(f"{name}: {'yes' if fit else 'no'}" for name, fit in fits.items()), fits)
    assert all(fits.values())


def _parameters(event: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a call, which some events have as JSON text."""
    parameters = event.get("requestParameters") or {}
    return dict(json.loads(parameters) if isinstance(parameters, str) else parameters)
