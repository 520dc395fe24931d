"""What each setting that a person may give must look like. All that are wrong are reported at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from link_peer.domain.errors import BadInput
from link_peer.runtime.settings import SERVICES

ENDPOINTS = ("LINK_PEER_CLOUD", *(f"LINK_PEER_{service.upper()}_ENDPOINT" for service in SERVICES))
_LOG_NAME = ("[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]", "3 to 63 of a-z, 0-9, - and _")
_QUEUE = ("[A-Za-z0-9][A-Za-z0-9-]{0,119}", "1 to 120 letters, digits and -")
_NUMBER = ("[1-9][0-9]{0,8}", "a positive number")
_FORMS = {
    "LINK_PEER_PREFIX": ("[a-z][a-z0-9-]{0,18}[a-z0-9]", "2 to 20 of a-z, 0-9 and -, beginning with a letter"),
    "LINK_PEER_TAG_PREFIX": ("[a-z][a-z0-9]{0,15}", "1 to 16 characters of a-z and 0-9, beginning with a letter"),
    "LINK_PEER_RUNTIME": (r"python3\.1[02]", "python3.12 or python3.10"),
    **dict.fromkeys(("LINK_PEER_QUEUE", "LINK_PEER_SWEEP_QUEUE"), _QUEUE),
    "LINK_PEER_AUDIT_PROJECT": ("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "3 to 63 of a-z, 0-9 and -"),
    **dict.fromkeys(("LINK_PEER_AUDIT_LOGSTORE", "LINK_PEER_OPERATOR_LOGSTORE"), _LOG_NAME),
    **dict.fromkeys(("LINK_PEER_CALLS_PER_MINUTE", "LINK_PEER_QUOTA_POLICIES", "LINK_PEER_QUOTA_QUEUES"), _NUMBER),
}
"""The form of each setting, as a pattern and in words. [doc CreateQueue, CreateProject, CreateLogstore: names]"""


def wrong(env: Mapping[str, str]) -> Iterator[BadInput]:
    """An error for each setting that has not its form."""
    for name, (pattern, words) in _FORMS.items():
        if (text := env.get(name, "")) and not re.fullmatch(pattern, text):
            yield BadInput(name, f"{text!a} must be {words}")
    for name in ENDPOINTS:
        if (text := env.get(name, "")) and not _is_address(text):
            yield BadInput(name, f"{text!a} must be a host, or http://host:port or https://host:port")


def _is_address(text: str) -> bool:
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        has_valid_host = re.fullmatch("[A-Za-z0-9.:-]+", url.hostname or "") is not None and url.port != 0
    except ValueError:  # no number, or one beyond 65535; a bracket that is open
        return False
    return has_valid_host and url.scheme in ("http", "https") and not (url.path.strip("/") or url.query or url.username)


def value(name: str, env: Mapping[str, str]) -> str:
    """A setting; empty if it is not set. Raises BadInput for one that has not its form."""
    for error in wrong({name: env.get(name, "")}):
        raise error
    return env.get(name, "")
