"""Shards of a logstore: their MD5 ranges, and cursors into one."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re

from link_peer_local.core.errors import ApiError


def shard_ranges(count: int) -> list[tuple[str, str]]:
    """The MD5 ranges [begin, end) of `count` equal shards, as ListShards shows them."""
    bounds = [f"{(1 << 128) * number // count:032x}" for number in range(count)] + ["f" * 32]
    return list(itertools.pairwise(bounds))


def shard_of(key: str, count: int) -> int:
    """The shard of a hash key: an MD5 in hex, or text that is hashed first [doc PutLogs, KeyHash mode]."""
    digest = key.lower() if re.fullmatch(r"[0-9a-fA-F]{32}", key) else hashlib.md5(key.encode()).hexdigest()  # noqa: S324 - their hash
    return int(digest, 16) * count >> 128


def cursor(position: int) -> str:
    """The cursor of a position in a shard."""
    return base64.b64encode(str(position).encode()).decode()


def position(cursor: str) -> int:
    """The position of a cursor; ApiError InvalidCursor."""
    try:
        text = base64.b64decode(cursor, validate=True)
    except ValueError:
        text = b""
    if not re.fullmatch(rb"\d{1,18}", text):
        raise ApiError("InvalidCursor", 400, "this cursor is invalid.")
    return int(text)
