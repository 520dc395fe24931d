"""Both ways of paging: MaxResults with NextToken, and PageNumber with PageSize (TotalCount only in the latter)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from local.ecs.params import Params, invalid
from local.errors import ApiError

T = TypeVar("T")

PAGING = frozenset({"MaxResults", "NextToken", "PageNumber", "PageSize", "ClientToken"})


def _fingerprint(action: str, params: Params) -> str:
    filters = sorted((key, value) for key, value in params.values.items() if key not in PAGING)
    return hashlib.sha256(json.dumps([action, filters]).encode()).hexdigest()[:16]


def _token(fingerprint: str, last: object) -> str:
    return base64.urlsafe_b64encode(json.dumps([fingerprint, last]).encode()).decode()


def _position(token: str, fingerprint: str) -> Any:
    """The key of the last item handed out; a token of another query is refused."""
    refused = ApiError("InvalidParameter", 400, 'The specified parameter "NextToken" is not valid.')
    try:
        owner, last = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError):
        raise refused from None
    if owner != fingerprint:
        raise refused
    return last


def tokens(
    action: str,
    params: Params,
    items: Sequence[T],
    key: Callable[[T], Any],
    *,
    default: int,
    least: int,
    most: int,
    descending: bool = False,
) -> tuple[Sequence[T], str]:
    """A page by MaxResults and NextToken. `items` are sorted by `key`, so that a page survives deletions before it.

    Values out of range are clamped: documented for DescribeInstances (below 10 is 10, above 100 is 100) [doc],
    taken over for the others [inferred].
    """
    size = min(max(params.integer("MaxResults", default), least), most)
    fingerprint = _fingerprint(action, params)
    start = 0
    if params.get("NextToken"):
        last = _position(params.get("NextToken"), fingerprint)
        after = (n for n, item in enumerate(items) if (key(item) < last if descending else key(item) > last))
        start = next(after, len(items))
    page = items[start : start + size]
    more = start + size < len(items)
    return page, _token(fingerprint, key(page[-1])) if more else ""


def page(
    action: str,
    params: Params,
    items: Sequence[T],
    key: Callable[[T], Any],
    *,
    least: int = 1,
    most: int = 100,
    most_by_number: int = 100,
    descending: bool = False,
) -> tuple[Sequence[T], dict[str, Any]]:
    """A page, and the answer's paging fields. Beside MaxResults or NextToken the numbers have no effect [doc]."""
    if "MaxResults" in params or "NextToken" in params:
        chosen, token = tokens(action, params, items, key, default=10, least=least, most=most, descending=descending)
        return chosen, {"NextToken": token}
    number = params.integer("PageNumber", 1)
    size = params.integer("PageSize", 10)
    if number < 1:
        raise invalid("PageNumber")
    if size < 1:
        raise invalid("PageSize")
    size = min(size, most_by_number)
    start = (number - 1) * size
    return items[start : start + size], {"TotalCount": len(items), "PageNumber": number, "PageSize": size}
