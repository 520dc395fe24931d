"""What the shell completes where a value is due: words of a list, and names and ids in files of this machine, of which
one holds what the last commands read. It asks no cloud, and a file that is missing or wrong completes nothing."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import textwrap
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.policy import Policy
from link_peer.domain.reasons import REASONS

from link_peer_cli.access import keys
from link_peer_cli.access.remembered import candidates

HELP_LENGTH = 60  # characters of help; typer breaks longer lines, and fish takes each line for a value
_PLAIN = re.compile(r"[\w.@+=-]+")  # what no shell takes for more than one word


def _of_policy(*, parties: bool = True, accounts: bool = True, names: bool = True) -> list[str]:
    """The names of parties and of accounts in the policy file in use; with parties, the ids that the last commands
    read, and with `names`, what these are called in the cloud."""
    from link_peer_cli.access.environment import policy_in_use  # it takes longer to import than help to print

    with contextlib.suppress(LinkPeerError, OSError):
        if policy := policy_in_use():
            account_names = [account.name for account in policy.accounts.values()] if accounts else []
            read = _remembered(policy, names=names) if parties else []
            return [*(policy.names if parties else ()), *account_names, *read]
    return []


def _remembered(policy: Policy, *, names: bool) -> list[str]:
    """What the last commands read in the region in use."""
    with contextlib.suppress(LinkPeerError):
        return candidates(policy.home, keys.region_in_use(os.environ), policy.accounts, names=names)
    return []


def _profiles() -> list[str]:
    """The profiles of the `aliyun` CLI."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        return [str(profile["name"]) for profile in json.loads(keys.cli_file().read_text(encoding="utf-8"))["profiles"]]
    return []


_accounts = partial(_of_policy, parties=False)
_parties = partial(_of_policy, accounts=False)
_ids = partial(_of_policy, accounts=False, names=False)  # of what opens: it takes no names of the cloud

FILTERS: dict[str, Callable[[], Iterable[str]]] = {
    "outcome": lambda: ("applied", "unchanged", "removed", "denied", "failed"),
    "reason": lambda: REASONS,
    "party": _parties,
}
"""The values of filters of `audit`, by field."""

VALUES: dict[str, Callable[[], Iterable[str]]] = {
    **dict.fromkeys(("close", "reopen"), _of_policy),
    **dict.fromkeys(("who", "explain", "tighten", "plan", "--party", "verify --from", "verify --to"), _parties),
    **dict.fromkeys(("accept", "withdraw", "request --from", "request --to"), _ids),
    **dict.fromkeys(("--account", "--believe-empty", "--peer", "doctor", "remove"), _accounts),
    **dict.fromkeys(("-o", "--output"), lambda: ("table", "wide", "csv", "json")),
    "--profile": _profiles,
    "audit": lambda: [f"{field}={value}" for field, values in FILTERS.items() for value in values()],
    **{f"audit {field}": values for field, values in FILTERS.items()},  # after `outcome =`, as bash parts it
    "--state": lambda: ("open", "blocked", "partly", "half-open", "closing", "unknown"),
}
"""The values of options, of one command's if it comes before the option; and of a command's arguments, by its name."""


def due(command: str, words: list[str]) -> Callable[[], Iterable[str]] | None:
    """The values that may come after these words of a command, where that can be told without its parameters."""
    words = [word for word in words if word != "="]  # bash parts words at = and @
    last = ["", *(words[:-2] if words[-1:] == ["@"] else words)][-1]
    return VALUES.get(f"{command} {last}") or VALUES.get(last if last[:1] == "-" else command)


def completing(context: Any, params: Iterable[Any]) -> list[Any]:
    """The parameters of a command as they are completed: with values, and without what converts those, which is slow to
    import."""
    copies = [copy.copy(param) for param in params]
    for completed_param in copies:
        completed_param.process_value = lambda _context, value: value
        completed_param.help = textwrap.shorten(completed_param.help or "", HELP_LENGTH, placeholder=" …")
        listed = re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", completed_param.metavar or "")
        values = listed[0].split("|").copy if listed else due(context.info_name, completed_param.opts[:1])
        if values:
            completed_param._custom_shell_complete = partial(matching, values)  # what typer makes of `autocompletion`
    return copies


def matching(values: Callable[[], Iterable[str]], *args: Any) -> list[str]:
    """Those that begin with what was typed, which is the last that the shell asked with."""
    typed, candidates = args[-1].removeprefix("="), [*values()]
    if values in (_of_policy, _parties, _ids) and "@" in typed:  # sg-…@<account>
        candidates += [f"{typed.rpartition('@')[0]}@{name}" for name in _accounts()]
    return [
        candidate
        for candidate in dict.fromkeys(candidates)
        if candidate.startswith(typed) and _PLAIN.fullmatch(candidate)
    ]
