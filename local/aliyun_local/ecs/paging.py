"""Both ways of paging: MaxResults with NextToken, and PageNumber with PageSize. Only the latter has TotalCount.

Lists are given as `read(last)`: the items that match, in order, from the one whose key is `last` on, or from some
earlier one; all of them if `last` is None. So a page need not read what earlier pages have read.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile, islice
from typing import Any, TypeVar

from aliyun_local.core.errors import ApiError
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.params import Params, invalid

T = TypeVar("T")

PAGING = frozenset({"MaxResults", "NextToken", "PageNumber", "PageSize", "ClientToken"})


_SECRET = secrets.token_bytes(16)


def _token(call: Call, last: object) -> str:
    """The sealed key of the last item returned: only the same query of the same account can continue from it."""
    text = base64.urlsafe_b64encode(json.dumps(last).encode()).decode()
    return f"{text}.{_seal(call, text)}"


def _position(call: Call) -> Any:
    text, _, seal = call.params.get("NextToken").partition(".")
    if not hmac.compare_digest(seal.encode(), _seal(call, text).encode()):
        raise _invalid_token(call)
    return json.loads(base64.urlsafe_b64decode(text))


def _invalid_token(call: Call) -> ApiError:
    """The refusal in the spelling of the action's own error table."""
    if call.action == "DescribeSecurityGroups":
        return ApiError("InValidParameter.NextToken", 400)
    return invalid("NextToken")


def _seal(call: Call, text: str) -> str:
    filters = sorted((key, value) for key, value in call.params.values.items() if key not in PAGING)
    sealed = json.dumps([call.account.uid, call.action, filters, text])
    return hmac.new(_SECRET, sealed.encode(), "sha256").hexdigest()[:32]


def tokens(
    call: Call,
    read: Callable[[Any], Iterable[T]],
    key: Callable[[T], Any],
    *,
    default: int,
    least: int,
    most: int,
    descending: bool = False,
) -> tuple[Sequence[T], str]:
    """A page by MaxResults and NextToken. Items are sorted by `key`, so that deleting earlier items skips none.

    Values out of range are clamped, as documented for DescribeInstances (below 10 is 10, above 100 is 100) [doc] and
    assumed for the others [inferred]; where no minimum is documented, a page size below 1 is refused.
    """
    requested_size = call.params.integer("MaxResults", default)
    if requested_size < 1 and least == 1:
        raise invalid("MaxResults")
    size = min(max(requested_size, least), most)
    last = _position(call) if call.params.get("NextToken") else None
    items: Iterable[T] = read(last)
    if last is not None:
        items = dropwhile(lambda item: key(item) >= last if descending else key(item) <= last, items)
    page_items = list(islice(items, size + 1))
    return page_items[:size], _token(call, key(page_items[size - 1])) if len(page_items) > size else ""


def page(
    call: Call,
    read: Callable[[Any], Iterable[T]],
    key: Callable[[T], Any],
    *,
    least: int = 1,
    most: int = 100,
    most_by_number: int = 100,
    descending: bool = False,
) -> tuple[Sequence[T], dict[str, Any]]:
    """A page, and the answer's paging fields. With MaxResults or NextToken, page numbers have no effect [doc]."""
    params = call.params
    if "MaxResults" in params or "NextToken" in params:
        chosen, token = tokens(call, read, key, default=10, least=least, most=most, descending=descending)
        return chosen, {"NextToken": token}
    return numbered(params, list(read(None)), most=most_by_number)


def numbered(params: Params, items: Sequence[T], *, most: int, default: int = 10) -> tuple[Sequence[T], dict[str, Any]]:
    """A page by PageNumber and PageSize, and the answer's paging fields."""
    number = params.integer("PageNumber", 1)
    size = params.integer("PageSize", default)
    if number < 1:
        raise invalid("PageNumber")
    if size < 1:
        raise invalid("PageSize")
    size = min(size, most)
    start = (number - 1) * size
    return items[start : start + size], {"TotalCount": len(items), "PageNumber": number, "PageSize": size}
