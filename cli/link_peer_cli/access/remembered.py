"""The names and ids that the last commands read, in a small file of the person's cache folder, for completion alone: it
asks no cloud.

A file for each home account and region, of mode 600, in a folder of mode 700. It holds ids and names of groups and
instances, and nothing else. What anybody else may have put there completes nothing, and is no reason for a command to
fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

MOST = 4_000
"""Groups and instances of a file."""
MAX_BYTES = 1_000_000
_PARTY = re.compile(r"(?:sg|i)-[A-Za-z0-9]{1,60}@[0-9]{15,20}", re.ASCII)
_NAME = re.compile(r"(?!(?:sg|i)-)\w[\w.+=-]{0,127}")
"""A name that no shell takes for more than one word, and no command for an option or an id."""


def path_of(home: str, region: str) -> Path:
    """The file of a home account and a region."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(folder) if os.path.isabs(folder) else Path.home() / ".cache"
    return base / "link-peer" / f"parties-{home}-{region}.json"


def parties(home: str, region: str) -> dict[str, str]:
    """What groups and instances are called, by `sg-…@<uid>`; an empty text where the name is none to complete. Empty
    where the file is missing, is not the person's own regular file, is too long or holds anything else."""
    with contextlib.suppress(OSError, ValueError, RecursionError, RuntimeError):
        handle = os.open(path_of(home, region), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_size <= MAX_BYTES:
                listed = json.loads(file.read(MAX_BYTES))
                items = listed.items() if isinstance(listed, dict) else ()
                return {party: _plain(name) for party, name in [*items][:MOST] if _PARTY.fullmatch(party)}
    return {}


def candidates(home: str, region: str, accounts: Collection[str], *, names: bool) -> list[str]:
    """The ids of what is remembered of these accounts, with the account where that is not home; before them, with
    `names`, each name that only one of them has."""
    remembered = {p: name for p, name in parties(home, region).items() if p.rpartition("@")[2] in accounts}
    counts = Counter(filter(None, remembered.values())) if names else Counter[str]()
    unique_names = [name for name, count in counts.items() if count == 1]
    return [*unique_names, *(party.removesuffix(f"@{home}") for party in remembered)]


def remember(home: str, region: str, names_by_party: Mapping[str, str], whole: Collection[str]) -> None:
    """Remember the names of groups and instances, by `sg-…@<uid>`, where a person is at a terminal. What was remembered
    of other accounts than those read `whole` stays, as far as there is room. What cannot be written is not."""
    if not (sys.stdout.isatty() or sys.stderr.isatty()):
        return
    earlier = {party: name for party, name in parties(home, region).items() if party.rpartition("@")[2] not in whole}
    newest = {party: _plain(name) for party, name in names_by_party.items()}
    content = json.dumps(dict([*{**newest, **{p: n for p, n in earlier.items() if p not in newest}}.items()][:MOST]))
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        path = path_of(home, region)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".parties-")  # of mode 600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
            os.replace(beside, path)
        finally:
            with contextlib.suppress(OSError):  # it is in place
                os.unlink(beside)


def _plain(name: object) -> str:
    """A name that can be completed; empty for any other."""
    return name if isinstance(name, str) and _NAME.fullmatch(name) else ""
