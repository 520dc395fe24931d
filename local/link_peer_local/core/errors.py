"""How a backend refuses: the platform's code, its HTTP status, its words."""

from __future__ import annotations


class ApiError(Exception):
    """A refusal in the platform's own terms, rendered by the wire layer of each service.

    `code` keeps the platform's spelling (`InvalidParamter.Conflict` is theirs), `status` is the HTTP status.
    """

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        self.status = status
        self.message = message
