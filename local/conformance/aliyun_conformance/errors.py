"""What can go wrong when a cloud is asked.

SelftestError
├── CloudError     the cloud refused a call for good; carries its code
└── Unanswered     no readable answer, or trouble that passes: the call may have been carried out
    └── Throttled  the API is over its rate limit until the next minute
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# [doc common errors] the other 4xx codes are final
_PASSING = frozenset({"LastTokenProcessing", "InvalidGressFlow.Malformed", "ServiceUnavailable", "InternalError"})
_LIBRARIES = frozenset({"darabonba", "Tea", "alibabacloud_tea_openapi", "requests", "urllib3"})


class SelftestError(Exception):
    """Base of these errors; also what a person did wrong."""


class CloudError(SelftestError):
    """The cloud refused a call and would refuse it again. `code` is the platform's own spelling."""

    def __init__(self, code: str, message: str, request_id: str = "", status: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.request_id = request_id
        self.status = status


class Unanswered(SelftestError):
    """The call got no readable answer, or was refused for the moment."""


class Throttled(Unanswered):
    """The API refuses calls until the next minute [doc ECS API throttling, help page 437902]."""


def call(send: Callable[[], T]) -> T:
    """Make one call of an SDK of Tea, and raise its errors as these. Programming errors are raised unchanged."""
    try:
        return send()
    except Exception as error:
        translated = _meaning(error)
        if translated is error:
            raise
        raise translated from None  # the SDK's error may quote the whole response, which for STS contains keys


def _meaning(error: Exception) -> Exception:
    code = str(getattr(error, "code", None) or "")
    if not code:
        from_sdk = type(error).__module__.split(".")[0] in _LIBRARIES
        unreadable = isinstance(error, RuntimeError) and "as json format" in str(error)  # [src darabonba, tea-util]
        is_unanswered = from_sdk or unreadable or isinstance(error, OSError)
        return Unanswered(f"no readable answer ({type(error).__name__})") if is_unanswered else error
    status = int(getattr(error, "status_code", None) or getattr(error, "statusCode", None) or 0)
    message = str(getattr(error, "message", None) or error).split("server string to sign is:")[0].split("?")[0][:300]
    if "Throttl" in code or status == 429:
        return Throttled(f"{code}: {message}")
    if status == 409 or status >= 500 or code in _PASSING:
        return Unanswered(f"{code}: {message}")
    return CloudError(code, message, str(getattr(error, "request_id", None) or ""), status)
