"""How tables word instants and accounts: for people on a terminal, exactly for programs."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from link_peer.domain.policy import Policy
from link_peer.domain.tags import parse_instant

from link_peer_cli.inventory.shown import span, until

_SHORT = re.compile(r"[\w.@-]{1,32}")


class Wording(msgspec.Struct, frozen=True):
    """`now` is in epoch seconds; None for programs. `names` are what accounts are called instead of their uids."""

    now: float | None
    names: Mapping[str, str]

    def ago(self, instant: str) -> str:
        """When something was: `3 d ago`; for programs the instant. Empty if it is not known."""
        return f"{span(self.now - parse_instant(instant))} ago" if instant and self.now is not None else instant

    def until(self, instant: str) -> str:
        """When something ends: the instant, and for people how far it is off, or `open-ended`."""
        return instant if self.now is None else until(self.now, parse_instant(instant) if instant else None)

    def account(self, uid: str) -> str:
        """An account, as commands take it: for people its name, if that is short; else its uid."""
        return self.names.get(uid, uid)

    def party(self, party: str, account: str) -> str:
        """`sg-…@<account>`, as commands take it."""
        return f"{party}@{self.account(account)}"

    def end(self, document: Mapping[str, Any], end: str) -> str:
        """An end (`from` or `to`) of a link's document: the party and its name."""
        name = document[f"{end}_name"]
        return self.party(document[end], document[f"{end}_account"]) + (f" ({name})" if name else "")


def wording(policy: Policy, now: float) -> Wording:
    """The wording for people if stdout is a terminal, else for programs."""
    if not sys.stdout.isatty():
        return Wording(None, {})
    return Wording(now, short_names(policy))


def short_names(policy: Policy) -> dict[str, str]:
    """By uid, the names that can be printed instead of it: as an argument without quotes, with room for them, and of one
    account only."""
    names = Counter(account.name for account in policy.accounts.values())
    return {
        uid: one.name for uid, one in policy.accounts.items() if names[one.name] == 1 and _SHORT.fullmatch(one.name)
    }
