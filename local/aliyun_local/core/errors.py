"""How a backend refuses a call: the platform's error code, HTTP status and message."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml


@cache
def _messages() -> dict[str, str]:
    """The platform's words for the codes that have the same ones everywhere."""
    messages: dict[str, str] = yaml.safe_load(Path(__file__).with_name("messages.yaml").read_text(encoding="utf-8"))
    return messages


class ApiError(Exception):
    """A refusal in the platform's own terms; each service's wire layer renders it.

    `code` keeps the platform's spelling (`InvalidParamter.Conflict` is theirs); `status` is the HTTP status. Without a
    message it is that of messages.yaml.
    """

    def __init__(self, code: str, status: int, message: str = "") -> None:
        message = message or _messages()[code]
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        self.status = status
        self.message = message
