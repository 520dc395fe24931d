"""ClientTokens: repeating a call with its token returns the earlier success and changes nothing."""

from __future__ import annotations

import json
from typing import Any

from link_peer_local.core.errors import ApiError
from link_peer_local.ecs.params import Params


class ClientTokens:
    """Successes by account, action and token, kept for `retention` seconds (undocumented for the platform)."""

    def __init__(self, retention: float = 86_400.0) -> None:
        self.retention = retention
        self._answers: dict[tuple[str, str, str], tuple[float, str, dict[str, Any]]] = {}

    def recall(self, account: str, action: str, params: Params, now: float) -> dict[str, Any] | None:
        """The earlier answer, if any. ApiError for an invalid token, or one used with other parameters."""
        token = params.get("ClientToken")
        if not token:
            return None
        if len(token) > 64 or not token.isascii():
            raise ApiError("InvalidClientToken.ValueNotSupported", 400, "The ClientToken provided is invalid.")
        known = self._answers.get((account, action, token))
        if known is None or now - known[0] > self.retention:
            return None
        if known[1] != _fingerprint(params):
            message = "Request uses a client token in a previous request but is not identical to that request."
            raise ApiError("IdempotentParameterMismatch", 400, message)
        return known[2]

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
