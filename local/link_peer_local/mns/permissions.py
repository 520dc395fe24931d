"""What RAM checks for an MNS request, and how MNS refuses it [doc MNS "permission policies and examples"]."""

from __future__ import annotations

from urllib.parse import unquote

from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Request
from link_peer_local.core.policy import Access
from link_peer_local.mns.wire import action


def access(request: Request, region: str, account: str) -> Access:
    """What a caller of `account` asks for. The batch forms have no actions of their own."""
    name = action(request).removeprefix("Batch")
    return Access(f"mns:{name}", [f"acs:mns:{region}:{account}:{unquote(request.path)}"])


def refused(_asked: Access) -> ApiError:
    """The refusal of what RAM does not allow."""
    message = "The OwnerId that your Access Key Id associated to is forbidden for this operation."
    return ApiError("AccessDenied", 403, message)
