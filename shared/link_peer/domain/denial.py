"""A denial: why a link is not made, or why a rule is removed. `domain.denials` has those of the library.

Advice is words, a command that can be pasted into a shell, or `<words>: <command>`. A denial is often worded before it is
known whose link it is about; `{link}` and the like stand for that until it is recorded.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Literal

import msgspec

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Link
from link_peer.domain.reasons import NONE, Kind, Reason

POST_AGAIN = "link-peer request {action} {link}"
"""The command that asks for the same link again."""

_COMMAND = re.compile(r"(?:^|: )((?:LINK_PEER_REGION=\S+ )?(?:link-peer|aliyun) .*)$")


class Waits(Enum):
    """What may resolve a denial without a person."""

    NO = "nothing"
    FOR_THE_CLOUD = "a new instance, or its address, is shown within minutes"
    FOR_A_READ = "something was not read: another read decides, and until then nothing is recorded"
    FOR_A_RULE = "another instance has the rule, which may be removed"


class Denial(msgspec.Struct, frozen=True):
    """A reason, the fact that decided (`detail`), and what to do about it (`advice`, may be empty).

    `outcome` is that of a link which is denied for this. `ended`: because its time is over. `half_open`: because half of a
    mutual link is missing. `owners`: the owners of the groups can resolve it, and then the link may be asked for again; `lacks_consent`: by
    consenting. The
    reason is for people and programs that read records; what is done follows from its kind and
    from these fields.
    """

    reason: Reason
    detail: str
    advice: str = ""
    outcome: Literal["denied", "failed", "unchanged"] = "denied"
    waits: Waits = Waits.NO
    ended: bool = False
    half_open: bool = False
    owners: bool = False
    lacks_consent: bool = False

    @property
    def unseen(self) -> bool:
        """Whether the cause is only that the cloud does not show something."""
        return self.reason.kind is Kind.NOT_SHOWN

    @property
    def undecided(self) -> bool:
        """Whether it says nothing about the link itself: an account refuses access, something was not read, or all is paused."""
        return self.reason.kind is Kind.UNDECIDED

    def __str__(self) -> str:
        """As people read it: `<reason>: <detail>`."""
        return f"{self.reason.code}: {self.detail}"


NOTHING = Denial(NONE, "")


class LinkDenied(LinkPeerError):
    """A link, or a change that it needs, is denied for good. `denial` says why."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(str(denial))
        self.denial = denial


def about(why: Denial, action: str, link: Link, region: str) -> Denial:
    """The denial with advice about this very link. `action` is what was asked for (link, unlink, sync)."""
    return msgspec.structs.replace(why, advice=filled(why.advice, action, link, region))


def filled(advice: str, action: str, link: Link, region: str) -> str:
    """The advice about one link."""
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
