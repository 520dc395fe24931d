"""How a backend refuses a call: the platform's error code, HTTP status and message."""

from __future__ import annotations


class ApiError(Exception):
    """A refusal in the platform's own terms; each service's wire layer renders it.

    `code` keeps the platform's spelling (`InvalidParamter.Conflict` is theirs); `status` is the HTTP status.
    """

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        self.status = status
        self.message = message


def unknown_action() -> ApiError:
    """What the RPC gateway answers for an action that the service does not have."""
    return ApiError("InvalidAction.NotFound", 404, "Specified api is not found, please check your url and method.")
