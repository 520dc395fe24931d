"""Reads resources by id in as few calls as possible, although one wrong id may fail the whole call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from link_peer.domain.errors import CloudError, NoAccess
from link_peer.domain.model import Group, Instance

T = TypeVar("T", Group, Instance)

IDS_PER_CALL = 100  # [doc DescribeInstances, DescribeSecurityGroups: at most 100 ids]
MAX_SPLITS = 12
"""Refused calls that are split, before everything is read instead. Enough to find one wrong id in a call of 100, or two."""

_ABOUT_IDS = ("InvalidSecurityGroupId", "InvalidInstanceId")  # .NotFound and .Malformed, one id or a list [doc]


def read_by_id(
    ids: Iterable[str], read: Callable[[Sequence[str]], list[T]], read_all: Callable[[], list[T]]
) -> list[T]:
    """The resources with these ids; ids that are unknown or malformed are left out.

    A call that is refused for its ids is split in two until the wrong id is alone. After MAX_SPLITS of them, or for a code
    that does not say that an id is wrong, `read_all` answers for the rest: 5,950 unknown names cost tens of calls.
    """
    wanted = sorted(set(ids))
    chunks: list[list[str]] = [wanted[start : start + IDS_PER_CALL] for start in range(0, len(wanted), IDS_PER_CALL)]
    found: list[T] = []
    splits = 0
    while chunks:
        chunk = chunks.pop()
        try:
            found += read(chunk)
        except NoAccess:
            raise
        except CloudError as error:
            if not error.code.startswith("Invalid"):
                raise
            certain = error.code.startswith(_ABOUT_IDS)
            if certain and len(chunk) == 1:
                continue
            splits += 1
            if not certain or splits > MAX_SPLITS:
                rest = {one for part in (chunk, *chunks) for one in part}
                return found + [one for one in read_all() if one.party.id in rest]
            middle = len(chunk) // 2
            chunks += [chunk[:middle], chunk[middle:]]
    return found
