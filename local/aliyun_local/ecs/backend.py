"""The ECS backend of one region: the state, one entrance for API calls, and the ClientTokens of those that
succeeded."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from aliyun_local.core.clock import Clock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Caller
from aliyun_local.core.knobs import Knobs
from aliyun_local.core.policy import Access
from aliyun_local.ecs import describe_instances, events
from aliyun_local.ecs.actions import ACTIONS, access
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.params import Params, missing
from aliyun_local.ecs.store import Store


class EcsBackend(Store):
    """The region's state plus `call`; safe to use from many threads.

    `permitted(caller, access)` says what a caller's policies allow; `tokens.retention` is how many seconds a
    ClientToken is remembered.
    """

    def __init__(self, clock: Clock, region: str = "cn-qingdao", knobs: Knobs | None = None) -> None:
        super().__init__(clock, region, knobs)
        self.tokens = ClientTokens()
        self.permitted: Callable[[Caller, Access], bool] = lambda _caller, _access: True

    def call(self, caller: Caller, action: str, params: Mapping[str, str], request_id: str = "") -> dict[str, Any]:
        """Run one API call; the response and its ActionTrail event share `request_id`."""
        error: ApiError | None = None
        with self.lock:
            call = Call(self, self.account(caller.account), action, Params(params), self.clock.now())
            try:
                answer = self._answer(caller, call)
            except ApiError as refusal:
                error = refusal
            if ACTIONS[action].writes:
                refused = (error.code, error.message) if error else None
                event = events.api_call(
                    caller,
                    self.region,
                    action,
                    params,
                    [*_resources(call.params), *call.created],
                    call.now,
                    request_id or str(uuid.uuid4()).upper(),
                    refused,
                )
                self.plan(caller.account, event, call.now)
        self.publish_due()
        if error:
            raise error
        return answer

    def _answer(self, caller: Caller, call: Call) -> dict[str, Any]:
        requested_access = access(
            call.action, call.params.values, self.region, caller.account, request_tags=self.knobs.request_tags
        )
        if not self.permitted(caller, requested_access):
            if call.action == "DescribeInstances" and not call.params.flag("DryRun"):
                return describe_instances.no_instances(call)
            raise ApiError("Forbidden.RAM", 403)
        region = call.params.get("RegionId")
        action = ACTIONS[call.action]
        if not region and action.needs_region:
            raise _no_region(call.action)
        if region not in ("", self.region):
            raise ApiError("InvalidRegionId.NotFound", 404)
        if not action.writes:
            return action.run(call)
        earlier_answer = self.tokens.recall(caller.account, call.action, call.params, call.now)
        if earlier_answer is not None:
            return earlier_answer
        answer = action.run(call)
        self.tokens.remember(caller.account, call.action, call.params, call.now, answer)
        return answer


def _no_region(action: str) -> ApiError:
    """The refusal in the spelling of the action's own error table, where that is known."""
    if action in ("DescribeSecurityGroups", "RunCommand", "DescribeInvocationResults"):
        message = missing("RegionId").message.replace('"', "")
        return ApiError("MissingParameter.RegionId", 400, message)
    if action == "DescribeSecurityGroupAttribute":
        return ApiError("MissingParameter.RegionId", 400, "The parameter RegionId is missing.")
    if action in ("TagResources", "UntagResources", "ListTagResources", "AddTags", "RemoveTags", "DescribeTags"):
        return ApiError("MissingParameter.RegionId", 404, "The parameter - RegionId should not be null")
    return missing("RegionId")


def _resources(params: Params) -> list[str]:
    """The ids of resources in a write's parameters, for its event."""
    single = [params.get(name) for name in ("InstanceId", "SecurityGroupId", "NetworkInterfaceId", "ResourceId")]
    listed = [*params.listed("InstanceId"), *params.listed("ResourceId"), *params.listed("SecurityGroupIds")]
    return [resource for resource in (*single, *listed) if resource]


class ClientTokens:
    """Repeating a call with its token returns the earlier success and changes nothing.

    Successes by account, action and token, kept for `retention` seconds (undocumented for the platform)."""

    def __init__(self, retention: float = 86_400.0) -> None:
        self.retention = retention
        self._answers: dict[tuple[str, str, str], tuple[float, str, dict[str, Any]]] = {}

    def recall(self, account: str, action: str, params: Params, now: float) -> dict[str, Any] | None:
        """The earlier answer, if any. ApiError for an invalid token, or one used with other parameters."""
        token = params.get("ClientToken")
        if not token:
            return None
        if len(token) > 64 or not token.isascii():
            raise ApiError("InvalidClientToken.ValueNotSupported", 400)
        entry = self._answers.get((account, action, token))
        if entry is None or now - entry[0] > self.retention:
            return None
        if entry[1] != _fingerprint(params):
            raise ApiError("IdempotentParameterMismatch", 400)
        return entry[2]

    def remember(self, account: str, action: str, params: Params, now: float, answer: dict[str, Any]) -> None:
        """Keep the answer of a call that has a token."""
        token = params.get("ClientToken")
        if token:
            self._answers[account, action, token] = (now, _fingerprint(params), answer)

    def forget(self) -> None:
        """Drop every token."""
        self._answers.clear()


def _fingerprint(params: Params) -> str:
    return json.dumps(sorted((key, value) for key, value in params.values.items() if key != "ClientToken"))
