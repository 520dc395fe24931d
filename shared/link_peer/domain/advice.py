"""The form of advice: words, a command that can be pasted into a shell, or `<words>: <command>`.

A denial is often worded before it is known whose link it is about. `{link}` and the like stand for that until it is
recorded.
"""

from __future__ import annotations

import re

from link_peer.domain.model import Link

POST_AGAIN = "link-peer request {action} {link}"
"""The command that asks for the same link again."""

_COMMAND = re.compile(r"(?:^|: )((?:LINK_PEER_REGION=\S+ )?(?:link-peer|aliyun) .*)$")


def filled(advice: str, action: str, link: Link, region: str) -> str:
    """The advice about one link. `action` is what was asked for (link, unlink, sync)."""
    if "{" not in advice:
        return advice
    names = {"{link}": options(link), "{action}": action, "{region}": region}
    for name, value in names.items():
        advice = advice.replace(name, value)
    return advice


def options(link: Link) -> str:
    """The options of `link-peer request` that name a link."""
    ports = "".join(f" --port {port}" for port in link.ports)
    return f"--from {link.source} --to {link.target}{ports}"


def parts(advice: str) -> tuple[str, str]:
    """(the words, the command) of advice; either may be empty."""
    found = _COMMAND.search(advice)
    return (advice[: found.start()], found[1]) if found else (advice, "")
