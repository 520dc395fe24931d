"""What RAM checks for a call of EventBridge: a rule is `eventbus/<bus>/rule/<name>` [doc CreateRule, "policies"]."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Request
from link_peer_local.core.policy import Access
from link_peer_local.eventbridge import linked_roles


def access(request: Request, region: str, account: str) -> Access:
    """What a caller of `account` asks for with PutEvents in its REST form."""
    del request
    return called("PutEvents", {"EventBusName": "default"}, region, account)


def called(action: str, params: Mapping[str, str], region: str, account: str) -> Access:
    """What a caller of `account` asks for with an RPC call."""
    if action == "CreateServiceLinkedRoleForProduct":
        service = linked_roles.SERVICES.get(params.get("ProductName", ""), "")
        return Access("ram:CreateServiceLinkedRole", context={"ram:ServiceName": [service]})
    if action in linked_roles.ACTIONS:
        return Access(f"eventbridge:{action}")
    if "EventStreaming" in action:
        resource = f"eventstreaming/{params.get('EventStreamingName') or '*'}"
    else:
        resource = f"eventbus/{params.get('EventBusName') or '*'}"
        if "Rule" in action or "Target" in action:
            resource += f"/rule/{params.get('RuleName') or '*'}"
    return Access(f"eventbridge:{action}", [f"acs:eventbridge:{region}:{account}:{resource}"])


def refused(asked: Access) -> ApiError:
    """The refusal of what RAM does not allow."""
    [resource] = asked.resources or ["*"]
    message = f"You are not authorized to do this action. Action: {asked.action}, resource: {resource}"
    return ApiError("NoPermission", 403, message)
