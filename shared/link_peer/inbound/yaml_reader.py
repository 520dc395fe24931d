"""A strict reader of YAML: what a person sees in the text is what is loaded. Every error is a PolicyError that gives
the file, line and column, both from 1, and the problem.

Three looks, each before the next: at the characters, at the tokens, at the values. The first two refuse what an editor
or a diff shows as something else than what YAML makes of it. The third decodes the values to a type of msgspec. It goes
from part to part itself, because msgspec's errors name no key of a mapping, and no line.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_args, get_origin

import msgspec

from link_peer.domain.errors import PolicyError
from link_peer.domain.tags import quoted

if TYPE_CHECKING:
    from yaml.error import Mark

T = TypeVar("T")

_MAX_DEPTH = 8  # the policy file itself needs four
_MAX_SPACES = 40
_STRING = "tag:yaml.org,2002:str"  # what YAML itself resolves a string to
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,8})")
_ODD = re.compile(r"\r\n|[^ -~\n]")
_RUN = re.compile(
    rf"(?<! ) {{{_MAX_SPACES + 1},}}(?=[^ \r\n])"
)  # looked for once in a run, not once from each of its spaces
_INDENT = re.compile(" *")
_UNQUOTED = re.compile(r"[\w .@:/+=,()~-]*")
_UNNAMED = {"\t": "TAB", "\r": "CARRIAGE RETURN without LINE FEED", "\x85": "NEXT LINE"}
_BLANK = re.compile(
    r"\b(FILLER|BLANK|NULL)\b"
)  # characters that Unicode counts as letters or symbols, and nothing shows
_REFUSED = {
    "AnchorToken": "anchors and aliases are not allowed: write the value out",
    "AliasToken": "anchors and aliases are not allowed: write the value out",
    "TagToken": "YAML tags are not allowed: remove the `!…`",
    "DirectiveToken": "YAML directives are not allowed: remove the `%…`",
    "DocumentEndToken": "`...` ends a YAML document, and only one is allowed: remove it",
}
_UNCLEAR = object()  # what YAML resolves to another value than the one that is written: off, ~, 010, 1e3


class _Tokens(deque[Any]):
    """The tokens for PyYAML's parser, which takes them from the left: a list would move all others each time."""

    def pop(self, index: int = 0) -> Any:
        """Take the first token."""
        del index
        return self.popleft()


class YamlReader:
    """Reads one YAML file. A place in it is written as in `allow[0].from`."""

    def __init__(self, text: str, name: str) -> None:
        """`name` is the file's name in errors."""
        self._text = text
        self._name = name
        self._places: dict[str, Mark] = {}

    def fail(self, at: str, problem: str) -> NoReturn:
        """Raises the PolicyError for a problem with a value that was decoded: a scalar or an item of a list where it
        begins, another mapping or list at its key."""
        self._fail(self._places[at], problem, at)

    def fail_index(self, index: int, problem: str) -> NoReturn:
        """Raises the PolicyError for a problem at a character of the text, counted from 0."""
        before = self._text[:index]
        line, column = before.count("\n") + 1, index - before.rfind("\n")
        raise PolicyError(f"{self._name}:{line}:{column}: {problem}") from None

    def _fail(self, mark: Mark, problem: str, at: str = "") -> NoReturn:
        self.fail_index(mark.index, f"{at}: {problem}" if at else problem)

    def decode(self, kind: type[T]) -> T | None:
        """The file's document as a value of a struct type; None if the file has none."""
        # Imported here because only a file that is read from its text needs it: no packaged policy.
        import yaml

        self._check_characters()
        try:
            loader: Any = yaml.SafeLoader(self._text)
            while not loader.done and loader.flow_level + len(loader.indents) <= _MAX_DEPTH:
                loader.fetch_more_tokens()
            self._check_tokens(loader.tokens[1:])
            loader.tokens = _Tokens(loader.tokens)  # scanning takes longest, so that the same are parsed
            node = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark: Any = error.problem_mark  # none of these errors is without one
            self._fail(mark, f"not valid YAML: {error.problem}")
        if node is None:
            return None
        self._places[""] = node.start_mark
        return msgspec.convert(self._value(node, kind, ""), kind)

    # characters

    def _check_characters(self) -> None:
        for match in _ODD.finditer(self._text):
            if match[0] != "\r\n" and _hides(match[0]):
                name = unicodedata.name(match[0], "") or _UNNAMED.get(match[0], "a control or unassigned character")
                character = f"U+{ord(match[0]):04X} {name}"
                self.fail_index(
                    match.start(), f"{character}: not allowed, as it can hide what the file says: remove it"
                )
        if run := _RUN.search(self._text):
            problem = f"more than {_MAX_SPACES} spaces in a row, which move what follows out of sight: remove them"
            self.fail_index(run.start(), problem)

    # tokens

    def _check_tokens(self, tokens: Sequence[Any]) -> None:
        """`tokens` are those of the whole file but the first, its start; or up to the first that is nested too deeply.
        Each open bracket may begin a key, and the scanner looks at all of them at each token, so that it may not open
        more than these."""
        depth = flow = lowest = 0
        for number, token in enumerate(tokens):
            self._check_token(token, first=number == 0)
            name, mark = type(token).__name__, token.start_mark
            ends = name.endswith(_ENDS)
            deeper = name.endswith(_STARTS) - ends
            if flow > 0 and mark.column < lowest - ends:
                self._fail(mark, "not indented, although a `[` or `{` is still open: indent it")
            if name.startswith("Flow"):
                if not flow:
                    indent = _INDENT.match(self._text, mark.index - mark.column)
                    lowest = len(indent[0]) + 1 if indent else 1
                flow += deeper
            depth += deeper
            if depth > _MAX_DEPTH:
                self._fail(mark, "nested too deeply")

    def _check_token(self, token: Any, *, first: bool) -> None:
        name, mark = type(token).__name__, token.start_mark
        if name in _REFUSED:
            self._fail(mark, _REFUSED[name])
        if name == "DocumentStartToken" and not first:
            self._fail(mark, "a second YAML document: only one is allowed")
        if name == "KeyToken" and token.end_mark.index > mark.index:
            self._fail(mark, "`?` is not allowed: write `key: value`")
        if self._text.startswith("#", token.end_mark.index):
            self.fail_index(token.end_mark.index, "a `#` begins a comment only after a space: write a space before it")
        if name == "ScalarToken":
            self._check_scalar(token)

    def _check_scalar(self, token: Any) -> None:
        """Its text must be its value: no escape, fold or block, and no look-alike of a quote, a comma or a comment."""
        written = self._text[token.start_mark.index : token.end_mark.index]
        if token.style in ("|", ">") or "\n" in written:
            self._fail(
                token.start_mark, "a value of more than one line, or in block style: write it on one line, in quotes"
            )
        if token.style == '"' and "\\" in written:
            self._fail(
                token.start_mark, "a backslash in double quotes: write the character itself, or use single quotes"
            )
        beyond = "".join(char for char in written if not char.isascii())
        if odd := next((char for char in beyond if not _is_plain(char)), ""):
            character = f"U+{ord(odd):04X} {unicodedata.name(odd, '')}"
            problem = f"{character} in a value can be taken for another character: only ASCII, Latin letters with accents and CJK"
            self.fail_index(self._text.index(odd, token.start_mark.index), f"{problem} characters are allowed")
        if token.plain and not _UNQUOTED.fullmatch(written):
            self._fail(token.start_mark, "a value with special characters: write it in quotes")

    # values

    def _value(self, node: Any, kind: Any, at: str) -> Any:
        """The plain value of a node, as `msgspec.convert` takes it for a type. Its parts are checked before itself."""
        value: Any
        if node.id == "mapping":
            value = self._mapping(node, kind, at)
        elif node.id == "sequence":
            (item, *_) = get_args(_core(kind)[0]) or (Any,)
            value = []
            for number, child in enumerate(node.value):
                self._places[where := f"{at}[{number}]"] = child.start_mark
                value.append(self._value(child, item, where))
        else:
            self._places[at] = node.start_mark
            value = _scalar(node)
        self._check(value, kind, self._places[at], at)
        return value

    def _mapping(self, node: Any, kind: Any, at: str) -> dict[str, Any]:
        core, _ = _core(kind)
        fields = {field.encode_name: field for field in msgspec.structs.fields(core)} if _is_struct(core) else {}
        key_kind, value_kind = get_args(core) if get_origin(core) is dict else (str, Any)
        value: dict[str, Any] = {}
        for key, child in node.value:
            name = _scalar(key) if key.id == "scalar" else None
            if not isinstance(name, str):
                self._fail(key.start_mark, "a key must be a string, in quotes where YAML reads it otherwise", at)
            if name in value:
                self._fail(key.start_mark, f"duplicate key {quoted(name)}: keep one", at)
            if fields and name not in fields:
                known_fields = ", ".join(fields)
                self._fail(key.start_mark, f"unknown key {quoted(name)}: the known keys are {known_fields}", at)
            self._check(name, key_kind, key.start_mark, at, f"{quoted(name)} ")
            where = f"{at}.{name}" if at else name
            self._places[where] = key.start_mark
            value[name] = self._value(child, fields[name].type if fields else value_kind, where)
        for name, field in fields.items():
            if field.required and name not in value:
                self._fail(self._places[at], f"`{name}` is missing: add it", at)
        return value

    def _check(self, value: object, kind: Any, mark: Mark, at: str, key: str = "") -> None:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            self._fail(mark, f"{key}must {_must(value, kind)}", at)


_STARTS = ("SequenceStartToken", "MappingStartToken")
_ENDS = ("SequenceEndToken", "MappingEndToken", "BlockEndToken")


def _hides(char: str) -> bool:
    """Whether a character is not a visible one of its own, in a line that runs from left to right: controls, other
    spaces and line breaks, what is invisible, unassigned or private, marks on other characters, right-to-left
    letters."""
    return (
        not char.isprintable()
        or unicodedata.category(char) in ("Mn", "Me")
        or unicodedata.bidirectional(char) in ("R", "AL", "AN")
        or _BLANK.search(unicodedata.name(char, "")) is not None
    )


def _is_plain(char: str) -> bool:
    """Whether a letter or digit beyond ASCII looks like none of ASCII: as wide as two, or with an accent."""
    if not char.isalnum() or unicodedata.normalize("NFKC", char) != char:
        return False
    return unicodedata.east_asian_width(char) == "W" or unicodedata.normalize("NFD", char)[0].isascii()


def _scalar(node: Any) -> Any:
    """A scalar's value: a string, `true`, `false`, `null` or a decimal whole number, each in this spelling alone."""
    text = node.value
    if node.tag == _STRING:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return {"true": True, "false": False, "null": None}.get(text, _UNCLEAR)


def _core(kind: Any) -> tuple[Any, str]:
    """A type without what `Annotated` adds to it, and without UNSET; and what that says a value must be."""
    must = ""
    while get_origin(kind) is Annotated or msgspec.UnsetType in get_args(kind):
        for meta in getattr(kind, "__metadata__", ()):
            must = must or (meta.extra or {}).get("must", "")
        kind = get_args(kind)[0]
    return kind, must


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _must(value: object, kind: Any) -> str:
    """What a value of the type must be, from "must" on."""
    core, must = _core(kind)
    shape = dict if _is_struct(core) else get_origin(core) or core
    return _SHAPES[shape] if shape in _SHAPES and not isinstance(value, shape) else must


_SHAPES: Mapping[Any, str] = {
    str: "be a string, in quotes",
    list: "be a list (`[…]`)",
    dict: "be a mapping (`key: value`)",
    bool: "be true or false",
}
