"""What a command looks at, and with which keys, for the texts that name it: an error, and an answer of none."""

from __future__ import annotations

from collections.abc import Mapping

FACTS: dict[str, str] = {}
"""Those of the command that runs: `key` and where it is from, `configure` (the command that sets another), `home` (its uid),
`region`, `accounts`, and `period`, where it asks about one."""

KEYS: dict[str, str] = {}
"""The ids of the access keys in use, by where they are from: a command may have those of several accounts."""
NAMED = 5
"""Accounts that a text names."""
_UNKNOWN = {"key": "in use", "configure": "aliyun configure", "home": "", "region": "", "accounts": "", "period": ""}


def clear() -> None:
    """Forget everything: another command begins."""
    FACTS.clear()
    KEYS.clear()
    FACTS.update(_UNKNOWN)


clear()


def note_key(key: str, origin: str, configure: str) -> None:
    """Note the id of an access key in use, where it is from, and the command that sets another there."""
    KEYS[origin] = key
    FACTS.update(key=" or ".join(f"{name} ({where})" for where, name in KEYS.items()), configure=configure)


def note_accounts(names: Mapping[str, str]) -> None:
    """Note the accounts that a command reads, by uid with their names."""
    shown = [f"{uid} ({name})" for uid, name in sorted(names.items())]
    more = [f"{len(shown) - NAMED} more"] * (len(shown) > NAMED)
    FACTS["accounts"] = ", ".join([*shown[:NAMED], *more])


def looked_at() -> str:
    """Where a command looked: `region cn-hangzhou; accounts 1000000000000001 (a), …; since 2026-12-01T00:00:00Z`."""
    parts = (f"{name} {FACTS[name]}" for name in ("region", "accounts") if FACTS[name])
    return "; ".join([*parts, *filter(None, [FACTS["period"]])])
