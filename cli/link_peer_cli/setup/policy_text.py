"""The policy file as text: an account's entry, added without touching the comments of the others."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from link_peer.domain.errors import LinkPeerError


def entry(uid: str, name: str, role: str, external_id: str, queue: str, ranges: Sequence[str]) -> str:
    """The lines of an account, as they stand under `accounts:`, indented by two spaces."""
    fields = {"name": name, "role": role, "external_id": external_id}
    lines = [f"  {_quoted(uid)}:", *(f"    {field}: {_quoted(value)}" for field, value in fields.items())]
    if ranges:
        lines.append(f"    ranges: [{', '.join(ranges)}]")
    if queue:
        lines.append(f"    queue: {_quoted(queue)}")
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """A string as the policy file takes it: in double quotes, which may hold no backslash, else in single ones."""
    return "'{}'".format(text.replace("'", "''")) if '"' in text or "\\" in text else f'"{text}"'


def with_entry(text: str, added: str) -> str:
    """A policy file's text with an entry (as `entry` makes it) as the last of its accounts, with the file's own line
    ends.

    Raises LinkPeerError if the accounts are not written in block style, one below the other.
    """
    accounts = _accounts(text)
    if accounts is None:
        raise LinkPeerError(
            "the accounts of the policy file are not listed one below the other: add the lines yourself"
        )
    column = accounts.value[0][0].start_mark.column
    lines = text.splitlines(keepends=True)
    after = _last_line(accounts.value[-1][1]) + 1
    while after < len(lines) and _belongs(lines[after], column):
        after += 1
    end = "\r\n" if "\r\n" in text else "\n"
    indent = " " * (column - 2)
    moved = end.join(f"{indent}{line}" if column >= 2 else line[2 - column :] for line in added.splitlines())
    if lines[after - 1].endswith("\n"):
        return "".join([*lines[:after], moved, end, *lines[after:]])
    return "".join([*lines, end, moved])  # nor does the file's last line end


def _accounts(text: str) -> yaml.MappingNode | None:
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = document.value if isinstance(document, yaml.MappingNode) else []
    accounts = next((value for key, value in pairs if key.value == "accounts"), None)
    return accounts if isinstance(accounts, yaml.MappingNode) and not accounts.flow_style and accounts.value else None


def _last_line(node: yaml.Node) -> int:
    """The line, counted from 0, on which a node ends. The end of a block is that of its last part."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1])
    return int(node.end_mark.line)


def _belongs(line: str, column: int) -> bool:
    """Whether a comment stands deeper than the accounts: it is about the last one."""
    bare = line.lstrip(" ")
    return bare.startswith("#") and len(line) - len(bare) > column
