"""What people write on the command line, and the settings that the environment gives."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import Party
from link_peer.domain.tags import is_account_uid, parse_instant, parse_who, quoted
from link_peer.inbound.policy_file import Policy
from link_peer.runtime import delivery
from link_peer.runtime import settings as settings_module
from link_peer.runtime.clock import Clock
from link_peer.runtime.settings import Settings

from link_peer_cli.io.console import console

LONG_SECONDS = 3.0  # of waiting, which a person may take for a command that hangs
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")


class Setting(msgspec.Struct, frozen=True):
    """What a command works with, as the functions would find it in the same environment."""

    settings: Settings
    policy: Policy
    clock: Clock


class TellingClock:
    """The time, and a word to whoever would have to wait long: a throttled call waits for the next minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        if seconds >= LONG_SECONDS:
            console(stderr=True).print(f"[dim]the cloud asks for patience: going on in {seconds:.0f} seconds[/dim]")
        self._clock.sleep(seconds)


def opened() -> Setting:
    """The environment's settings, the policy that they name, and the time."""
    settings = settings_module.load()
    try:
        policy = delivery.load_policy(settings.policy_path)
    except OSError as error:
        raise LinkPeerError(f"the policy file cannot be read: {error}") from None
    return Setting(settings, policy, TellingClock(delivery.clock_for_functions()))


def duration(text: str, field: str) -> int:
    """Seconds of `90s`, `30m`, `2h`, `7d`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise BadInput(field, f"{quoted(text)} is not like 90s, 30m, 2h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def moment(text: str, field: str, now: float) -> float:
    """Epoch seconds of an RFC 3339 instant, or of so long ago (`2h`)."""
    if _DURATION.fullmatch(text):
        return now - duration(text, field)
    try:
        return parse_instant(text)
    except BadInput:
        raise BadInput(field, f"{quoted(text)} is neither like 2h nor like 2027-01-01T00:00:00Z") from None


def party(text: str, field: str, home: str, nor: str = "") -> Party:
    """`sg-…` or `i-…`, of the home account unless `@<uid>` says otherwise. `nor` names what else it might have been."""
    try:
        who = parse_who(text, home)
    except BadInput:
        who = None
    if who is None or who.id == "*":
        raise BadInput(field, f"{quoted(text)} is not sg-… or i-…, alone or with @<account uid>{nor}")
    return Party(who.account, who.id)


def matching(text: str, field: str, pattern: str) -> str:
    """A text that is empty or of a form; so none can be more than a value where it becomes part of a query."""
    if text and not re.fullmatch(pattern, text):
        raise BadInput(field, f"{quoted(text)} is not like {pattern}")
    return text


def account(text: str, field: str) -> str:
    """An account's uid."""
    if not is_account_uid(text):
        raise BadInput(field, f"{quoted(text)} is not an account uid")
    return text


def known(here: Setting, accounts: Iterable[str], field: str) -> None:
    """Each of these accounts is one of the policy."""
    for uid in accounts:
        if uid not in here.policy.accounts:
            raise BadInput(field, f"account {uid} is not in the policy")


def document(name: str) -> bytes:
    """The bytes of a file; of standard input where the name is `-`."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise BadInput(name, error.strerror or "cannot be read") from None
