"""How a backend refuses a call: the platform's error code, HTTP status and message; also to an account that has not activated it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml


@cache
def _messages() -> dict[str, str]:
    """The platform's words for the codes that have the same ones everywhere."""
    found: dict[str, str] = yaml.safe_load(Path(__file__).with_name("messages.yaml").read_text(encoding="utf-8"))
    return found


class ApiError(Exception):
    """A refusal in the platform's own terms; each service's wire layer renders it.

    `code` keeps the platform's spelling (`InvalidParamter.Conflict` is theirs); `status` is the HTTP status. Without a message it
    is that of messages.yaml.
    """

    def __init__(self, code: str, status: int, message: str = "") -> None:
        message = message or _messages()[code]
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        self.status = status
        self.message = message


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
