"""Indexes of a logstore: which fields can be searched, and how values are split into words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct, field

from aliyun_local.core.errors import ApiError

# The console's delimiters [doc "Create indexes"]; note that "-" and "." are not among them.
DEFAULT_TOKENS = frozenset(", '\";=()[]{}?@&<>/:\n\t\r")
_SEARCHED = 512 * 1024  # indexed part of a value [doc "Query and analysis", limits: in KB; here in characters]
_LONG = 1 << 63
_TYPES = ("text", "long", "double", "json")


class FieldIndex(Struct, frozen=True):
    """How one field (or the whole line) is indexed. With empty `tokens` values are not split."""

    type: str = "text"
    tokens: frozenset[str] = DEFAULT_TOKENS
    case_sensitive: bool = False

    @property
    def numeric(self) -> bool:
        """Whether the field holds numbers."""
        return self.type in ("long", "double")

    def fold(self, text: str) -> str:
        """The text in lower case, unless the index is case-sensitive."""
        return text if self.case_sensitive else text.lower()

    def words(self, text: str) -> frozenset[str]:
        """The words of a value, in lower case unless the index is case-sensitive."""
        return _words(self, text)

    def number(self, text: str) -> float | None:
        """The value as a number of this field's type; None for one that is not, which is then not indexed."""
        try:
            number = int(text) if self.type == "long" else float(text)
        except ValueError:
            return None
        return None if self.type == "long" and not -_LONG <= number < _LONG else number


@lru_cache(maxsize=256)  # a search calls this for each log and each condition
def _words(config: FieldIndex, text: str) -> frozenset[str]:
    text = config.fold(text[:_SEARCHED])
    if not config.tokens:
        return frozenset([text] if text else ())
    return frozenset(re.findall(f"[^{re.escape(''.join(config.tokens))}]+", text))


class Index(Struct, frozen=True):
    """A logstore's index: `line` is the full-text index, `keys` are the indexed fields."""

    line: FieldIndex | None
    keys: Mapping[str, FieldIndex]
    document: Mapping[str, Any]  # as it was sent, for GetIndex
    include: frozenset[str] | None = None
    exclude: frozenset[str] = field(default_factory=frozenset)
    analysed: tuple[str, ...] = ()  # fields whose values are kept for SQL
    analysed_bytes: int = 2048  # of each of those values

    def key(self, name: str) -> FieldIndex | None:
        """The index of a field; topic, source and tags are always indexed [doc "Reserved fields"]."""
        if name in ("__topic__", "__source__") or name.startswith("__tag__:"):
            return self.keys.get(name, FieldIndex())
        return self.keys.get(name)

    def line_texts(self, fields: Mapping[str, str]) -> list[str]:
        """The texts of a log that the full-text index covers: names and values of its fields."""
        return [
            text
            for name, value in fields.items()
            if (self.include is None or name in self.include) and name not in self.exclude
            for text in (name, value)
        ]


def parse(document: Any) -> Index:
    """Read an index as sent: `{"line": {"token", "caseSensitive"}, "keys": {name: {"type", "token", …}}}`."""
    if not isinstance(document, dict) or not (document.get("line") or document.get("keys")):
        raise _invalid("an index needs line or keys")
    line = document.get("line")
    keys = document.get("keys") or {}
    if not isinstance(keys, dict) or not (line is None or isinstance(line, dict)):
        raise _invalid("line and keys must be objects")
    include, exclude = ((line or {}).get(name) or [] for name in ("include_keys", "exclude_keys"))
    if not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in (include, exclude)
    ):
        raise _invalid("include_keys and exclude_keys must be lists of names")
    if include and exclude:
        raise _invalid("include_keys and exclude_keys cannot be combined")
    most = document.get("max_text_len", 2048)
    if type(most) is not int or not 64 <= most <= 16384:
        raise _invalid("max_text_len must be between 64 and 16384")
    return Index(
        line=_field("line", {**line, "type": "text"}) if line else None,
        keys={name: _field(name, config) for name, config in keys.items()},
        document=document,
        include=frozenset(include) if include else None,
        exclude=frozenset(exclude),
        analysed=tuple(name for name, config in keys.items() if config.get("doc_value")),
        analysed_bytes=most,
    )


def _field(name: str, config: Any) -> FieldIndex:
    if not isinstance(config, dict) or config.get("type", "text") not in _TYPES:
        raise _invalid(f"key {name}: type must be one of {', '.join(_TYPES)}")
    kind = config.get("type", "text")
    if kind in ("long", "double"):
        return FieldIndex(kind, frozenset())
    tokens = config.get("token")
    if not isinstance(tokens, list) or not all(isinstance(token, str) and len(token) == 1 for token in tokens):
        raise _invalid(f"key {name}: token must be a list of single characters")
    return FieldIndex(kind, frozenset(tokens), bool(config.get("caseSensitive", False)))


def _invalid(reason: str) -> ApiError:
    return ApiError("IndexInfoInvalid", 400, f"index info is invalid: {reason}")
