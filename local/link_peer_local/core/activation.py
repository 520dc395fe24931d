"""What a service answers an account that has not activated it."""

from __future__ import annotations

from link_peer_local.core.errors import ApiError

_REFUSALS = {
    # [issue Serverless-Devs 282]
    "fc": ("AccessDenied", 403, "FC service is not enabled for current user."),
    # [doc EventBridge error codes]
    "eventbridge": (
        "ServiceAccessDenied",
        403,
        "The OwnerId that your Access Key Id associated to has not enabled EventBridge Service.",
    ),
    # [issue funcraft 660; the code is that of a key which SLS does not know]
    "sls": ("Unauthorized", 401, "AccessKeyId is inactive."),
    # assumed: the error codes of MNS have none for it
    "mns": ("AccessDenied", 403, "The OwnerId that your Access Key Id associated to is forbidden for this operation."),
}
SERVICES = frozenset(_REFUSALS)
"""The services that must be activated. ECS, STS and RAM need not be."""


def not_activated(service: str) -> ApiError:
    """The refusal of a service that is not activated."""
    return ApiError(*_REFUSALS[service])
