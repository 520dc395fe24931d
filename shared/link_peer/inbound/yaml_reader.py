"""A strict reader of YAML. Every error is a PolicyError that gives the file, the line and the problem.

It works on YAML nodes instead of values, because only nodes know their lines. It accepts no anchors, aliases, tags or
duplicate keys, and none of the other spellings that YAML 1.1 has for booleans and numbers: a reviewer sees every value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from link_peer.domain.errors import PolicyError
from link_peer.domain.tags import quoted

if TYPE_CHECKING:
    from yaml.nodes import Node

_MAX_DEPTH = 8  # the policy file itself needs four
_TAG = "tag:yaml.org,2002:"  # prefix of the type that YAML itself resolves a node to
_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")


class YamlReader:
    """Reads one YAML file. In every method `at` is the path of the node, such as `allow[0].from`, for the error."""

    def __init__(self, name: str) -> None:
        """`name` is the file's name in errors."""
        self._name = name

    def fail(self, node: Node, at: str, problem: str) -> NoReturn:
        """Raises the PolicyError for a problem with a node."""
        self.fail_line(_line(node), f"{at}: {problem}" if at else problem)

    def fail_line(self, line: int, problem: str) -> NoReturn:
        """Raises the PolicyError for a problem on a line, counted from 0."""
        raise PolicyError(f"{self._name}:{line + 1}: {problem}") from None

    def document(self, text: str) -> Node | None:
        """The only document of a text; None if the text is empty."""
        # Imported here because only the start of a function needs it; other importers of this module do not.
        import yaml

        try:
            self._check_events(text)
            node: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.fail_line(mark.line if mark else 0, f"not valid YAML: {error.problem or error.context}")
        except yaml.reader.ReaderError as error:
            self.fail_line(text.count("\n", 0, error.position), "a character that YAML does not allow: remove it")
        return node

    def _check_events(self, text: str) -> None:
        """Rejects what `compose` would resolve silently, and nesting that would exhaust its recursion."""
        import yaml

        depth = documents = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            documents += isinstance(event, yaml.DocumentStartEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if documents > 1:
                self.fail_line(_line(event), "a second YAML document: only one is allowed")
            if getattr(event, "anchor", None) is not None:  # an alias has one, too
                self.fail_line(_line(event), "anchors and aliases are not allowed: write the value out")
            if getattr(event, "tag", None) is not None:
                self.fail_line(_line(event), "YAML tags are not allowed: remove the `!…`")
            if depth > _MAX_DEPTH:
                self.fail_line(_line(event), "nested too deeply")

    def pairs(self, node: Node, at: str) -> list[tuple[Node, Node]]:
        """The entries of a mapping, in order. Keys are scalars, each different from the others."""
        if node.tag != _TAG + "map":
            self.fail(node, at, "must be a mapping (`key: value`)")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                self.fail(key, at, "a key must be a plain string")
            if key.value in seen:
                self.fail(key, at, f"duplicate key {quoted(key.value)}: keep one")
            seen.add(key.value)
        return list(node.value)

    def mapping(
        self, node: Node, at: str, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
    ) -> dict[str, Node]:
        """The values of a mapping, by key. Every required key is in it, and no key besides the given ones."""
        known = required + optional
        parts: dict[str, Node] = {}
        for key, value in self.pairs(node, at):
            if key.value not in known:
                self.fail(key, at, f"unknown key {quoted(key.value)}: the known keys are {', '.join(known)}")
            parts[key.value] = value
        for name in required:
            if name not in parts:
                self.fail(node, at, f"`{name}` is missing: add it")
        return parts

    def sequence(self, node: Node, at: str) -> list[Node]:
        """The items of a list."""
        if node.tag != _TAG + "seq":
            self.fail(node, at, "must be a list (`[…]`)")
        return list(node.value)

    def text(self, node: Node, at: str) -> str:
        """A string. The error does not repeat the value, which may be a secret."""
        value = _scalar(node, "str")
        if value is None:
            self.fail(node, at, "must be a string, in quotes")
        return value

    def boolean(self, node: Node, at: str) -> bool:
        """`true` or `false`; not yes, on or OFF, which YAML 1.1 would accept too."""
        return self.word(node, at, "true", "false") == "true"

    def word(self, node: Node, at: str, *words: str) -> str:
        """One of two or more words in exactly their spelling. `true` and `false` are YAML's, without quotes."""
        found = [word for word in words if _scalar(node, "bool" if word in ("true", "false") else "str") == word]
        if not found:
            self.fail(node, at, f"must be {', '.join(words[:-1])} or {words[-1]}")
        return found[0]

    def integer(self, node: Node, at: str, lowest: int, highest: int) -> int:
        """A decimal whole number from `lowest` to `highest`; YAML 1.1 would read 010 as 8 and 1:30 as 90."""
        value = _scalar(node, "int")
        if value is None or not _INTEGER.fullmatch(value) or not lowest <= int(value) <= highest:
            self.fail(node, at, f"must be a whole number from {lowest} to {highest}")
        return int(value)

    def is_null(self, node: Node) -> bool:
        """Whether the value is `null`; not empty, ~ or NULL, which YAML 1.1 would accept too."""
        return _scalar(node, "null") == "null"


def _line(marked: object) -> int:
    """The line of a node or an event, counted from 0."""
    mark = getattr(marked, "start_mark", None)
    return mark.line if mark else 0


def _scalar(node: Node, kind: str) -> str | None:
    """A scalar's text if YAML resolves it to that type, else None."""
    return str(node.value) if node.tag == _TAG + kind else None
