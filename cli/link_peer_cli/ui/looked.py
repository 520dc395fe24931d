"""What a command looks at, and with which keys, for the texts that name it: an error, and an answer of none."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from rich.markup import escape

from link_peer_cli.ui.console import console

FACTS: dict[str, str] = {}
"""Those of the command that runs: `key` and where it is from, `configure` (the command that sets another), `person`
(their ARN), `again` (the command itself), `home` (its uid), `region`, `accounts`, those `unread`, how many groups were
not (`gap`), and `period`, where it asks about one."""

KEYS: dict[str, str] = {}
"""The ids of the access keys in use, by where they are from: a command may have those of several accounts."""
MAX_ACCOUNTS = 5
"""Accounts that a text names."""
UNKNOWN = {
    **dict.fromkeys(("home", "region", "accounts", "unread", "gap", "period"), ""),
    "key": "in use",
    "configure": "aliyun configure",
    "person": "acs:ram::<uid>:user/<name>",
}
"""What texts name before a fact is known."""


def clear(args: Sequence[str] = ()) -> None:
    """Forget everything: another command begins, with these arguments."""
    FACTS.clear()
    KEYS.clear()
    FACTS.update(UNKNOWN, again=shlex.join(["link-peer", *args]))


clear()


def note_key(key: str, origin: str, configure: str) -> None:
    """Note the id of an access key in use, where it is from, and the command that sets another there."""
    KEYS[origin] = key
    FACTS.update(key=" or ".join(f"{name} ({where})" for where, name in KEYS.items()), configure=configure)


def note_accounts(names: Mapping[str, str]) -> None:
    """Note the accounts that a command reads, by uid with their names."""
    titles = [f"{uid} ({name})" for uid, name in sorted(names.items())]
    remainder = [f"{len(titles) - MAX_ACCOUNTS} more"] * (len(titles) > MAX_ACCOUNTS)
    FACTS["accounts"] = ", ".join([*titles[:MAX_ACCOUNTS], *remainder])


def note_unread(accounts: Iterable[str], gap: str = "") -> None:
    """Note the accounts (uids) that could not be read, and how many groups were not."""
    FACTS.update(unread=", ".join(sorted(accounts)), gap=gap)


def looked_at() -> str:
    """Where a command looked: `region cn-hangzhou; accounts 1000000000000001 (a), …; since 2026-12-01T00:00:00Z`."""
    parts = {"region": FACTS["region"], "accounts": FACTS["accounts"], "could not read": FACTS["unread"]}
    clauses = [*(f"{name} {text}" for name, text in parts.items() if text), FACTS["gap"], FACTS["period"]]
    return "; ".join(filter(None, clauses))


def say_none(text: str = "") -> None:
    """Print on stderr that there is none, and where it was looked for: an answer of none from the wrong place is no
    answer."""
    where = f"Looked at: {place}." if (place := looked_at()) else ""
    console(stderr=True).print(escape(" ".join(filter(None, [text, where]))))
