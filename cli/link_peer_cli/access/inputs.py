"""Parsers for command-line values. Each raises BadInput that names the option at fault."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from link_peer.domain import tags
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, Port
from link_peer.domain.policy import Policy
from link_peer.domain.tags import (
    is_account_uid,
    is_group_id,
    is_instance_id,
    is_name,
    parse_instant,
    parse_port,
    quoted,
)

from link_peer_cli.access.environment import load_own, policy_in_use

MAX_ACCOUNTS = 20  # accounts that an error message lists
BY_ID = "; a command that opens takes the id, not a name from the cloud"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")


def duration(text: str, field: str) -> int:
    """Return the seconds in `90s`, `30m`, `2h` or `7d`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise BadInput(field, f"{quoted(text)} is not a duration such as 90s, 30m, 2h or 7d")
    return int(match[1]) * _UNITS[match[2]]


DAY_SECONDS = 86_400
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_QUARTER = re.compile(r"([0-9]{4})Q([1-4])", re.ASCII)


def moment(text: str, field: str, now: float, *, end_of_day: bool = False) -> float:
    """Return epoch seconds of an RFC 3339 instant, which has a zone, of a date (its start in UTC; with `end_of_day` its
    end), or of a duration before `now` (`2h`)."""
    if _DATE.fullmatch(text):
        return moment(f"{text}T00:00:00Z", field, now) + (DAY_SECONDS - 1 if end_of_day else 0)
    if _DURATION.fullmatch(text):
        return now - duration(text, field)
    try:
        return parse_instant(text)
    except BadInput:
        raise BadInput(
            field,
            f"{quoted(text)} is no duration such as 2h, no date, and no instant with its zone, "
            "such as 2099-12-31T08:00:00+08:00 or 2099-12-31T00:00:00Z",
        ) from None


def quarter_of(text: str, field: str) -> tuple[float, float]:
    """Return the first and the last second of a quarter (`2026Q3`, UTC), in epoch seconds."""
    match = _QUARTER.fullmatch(text)
    if not match:
        raise BadInput(field, f"{quoted(text)} is not a quarter, such as 2026Q3")
    year, month = int(match[1]), 3 * int(match[2]) - 2
    starts = (year, month), (year + month // 10, (month + 3) % 12)
    first, following = (parse_instant(f"{y:04}-{m:02}-01T00:00:00Z") for y, m in starts)
    return first, following - 1


def ending(text: str, field: str, now: float, *, past: bool = False) -> int:
    """Return when something ends, in epoch seconds: an RFC 3339 instant, the start of a date, or a duration from `now`
    (`30d`). `past`: it may have."""
    end = now + duration(text, field) if text[-1:] in _UNITS else moment(text, field, now)
    if end <= now and not past:
        raise BadInput(field, f"{quoted(text)} is past")
    return int(end)


def by_id(text: str) -> str:
    """Return `ledger` or `ledger:tcp/3306` with the id and account that the policy file in use gives the name; other
    text as it is. Raises PolicyError."""
    policy = policy_in_use() if is_name(re.split("[:~]", text, maxsplit=1)[0]) else None
    return tags.by_id(text, policy.names) if policy else text


def is_cloud_name(text: str) -> bool:
    """Whether a text is neither an id, nor a name of the policy, nor `*`, but may be what a party is called in the
    cloud."""
    return not by_id(text).startswith(("sg-", "i-", "*"))


def party(text: str, field: str, home: str, alternative: str = "") -> Party:
    """Parse `sg-…` or `i-…`, in the home account unless it ends with `@<account>`, its uid or its name in the policy;
    or a name that the policy gives a party.

    `alternative` is appended to the error message: what else the caller would have accepted.
    """
    name, at, account = by_id(text).partition("@")
    if not (is_group_id(name) or is_instance_id(name)):
        forms = "sg-… or i-…, optionally with @<account uid or name>, nor a name of the policy"
        raise BadInput(field, f"{quoted(text)} is not {forms}{alternative}")
    return Party(account_uid(account, field) if at else home, name)


def ports_of(texts: Iterable[str] | None, field: str) -> list[Port]:
    """Parse `tcp/3306`, `udp/53` or `icmp`, each given alone or joined with + to others."""
    try:
        return list(dict.fromkeys(parse_port(port_text) for text in texts or () for port_text in text.split("+")))
    except BadInput as error:
        raise BadInput(field, error.problem) from None


def matching(text: str, field: str, pattern: str) -> str:
    """Return `text` if it is empty or matches `pattern`.

    Use it for values that become part of a query, so that none of them can change the query.
    """
    if text and not re.fullmatch(pattern, text):
        form = f"one of {pattern.replace('|', ', ')}" if "|" in pattern else f"of the form {pattern}"
        raise BadInput(field, f"{quoted(text)} is not {form}")
    return text


def account_uid(text: str, field: str) -> str:
    """Return an account's uid, given that or the account's name in the policy file that is in use.

    Any uid is good; `require_known` says whether the policy lists it. Raises BadInput for `field` if the text is
    neither a uid nor the name of exactly one account; LinkPeerError that names everything missing if there is no policy
    file to find the name in.
    """
    if not text:
        raise BadInput(field, "give the account's uid, or its name in the policy")
    return text if is_account_uid(text) else account_named(_policy(), text, field)


def account_named(policy: Policy, text: str, field: str) -> str:
    """Return the uid of an account of the policy, given that or its name. Raises BadInput for `field`."""
    if is_account_uid(text) and text in policy.accounts:
        return text
    uids = [uid for uid, account in policy.accounts.items() if account.name == text]
    if len(uids) > 1:
        raise BadInput(field, f"{quoted(text)} is the name of {', '.join(uids)}: give the uid of one")
    if not uids:
        choices = [f"{uid} ({account.name})" for uid, account in policy.accounts.items()]
        remainder = f" and {len(choices) - MAX_ACCOUNTS} more" if len(choices) > MAX_ACCOUNTS else ""
        raise BadInput(
            field,
            f"{quoted(text)} is neither the uid nor the name of an account of the policy, which lists "
            f"{', '.join(choices[:MAX_ACCOUNTS])}{remainder}",
        )
    return uids[0]


def with_uid(text: str, field: str) -> str:
    """Return `sg-…@<account>:tcp/3306~…` with the account's uid, where it has its name in the policy file that is in
    use; a party's own name there becomes its id, too.

    Names of accounts may have `:` and `~` in them: the longest name that fits is meant. Text without an account is
    returned as it is.
    """
    text = by_id(text)
    party_id, at, suffix = text.partition("@")
    if not at or is_account_uid(re.split("[:~]", suffix, maxsplit=1)[0]):
        return text
    policy = _policy()
    names = [
        a.name for a in policy.accounts.values() if suffix == a.name or suffix.startswith((f"{a.name}:", f"{a.name}~"))
    ]
    name = max(names, key=len, default=re.split("[:~]", suffix, maxsplit=1)[0])
    return f"{party_id}@{account_named(policy, name, field)}{suffix[len(name) :]}"


def _policy() -> Policy:
    """The policy file in use, in which names are looked up. Raises LinkPeerError that names everything missing if it
    cannot be read, as the command itself would."""
    return policy_in_use() or load_own().policy


def document(name: str) -> bytes:
    """Read a file, or standard input if the name is `-`."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise BadInput(name, error.strerror or "cannot be read") from None
