"""Markdown for a pull request: literal, and short enough for a comment on GitHub."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import msgspec

from link_peer_cli.ui.console import visible
from link_peer_cli.ui.files import write

LIMIT = 60_000
"""Characters. GitHub takes 65,536 in a comment [its API: "Body is too long (maximum is 65536 characters)"]."""
LONGEST = 500
"""Characters of one text. Names and reasons are shorter; a list of names may be longer."""


class Section(msgspec.Struct, frozen=True):
    """A part of a page."""

    plural_name: str  # what the entries are called
    entries: Sequence[str]  # a line each, the most important first
    head: Sequence[str] = ("",)


def document(title: str, total: str, sections: Sequence[Section], whole_plan_path: str = "") -> str:
    """A title, the counts, and as much of the sections as there is room for, cut between entries. The file
    `whole_plan_path` is given all of it. Raises LinkPeerError if that cannot be written."""
    head = f"### {title}\n\n**{total}**"
    filled_sections = [section for section in sections if section.entries]
    whole = "\n".join([head, *map(_text, filled_sections)])
    if whole_plan_path:
        write(whole_plan_path, f"{whole}\n".encode())
    if len(whole) < LIMIT:
        return whole
    where = f"all of it is in {literal(whole_plan_path)}" if whole_plan_path else "`--rest FILE` writes all of it"
    counts = dict.fromkeys(range(len(filled_sections)), 0)
    room = LIMIT - len(head) - sum(len(section.plural_name) + 50 for section in filled_sections) - len(where) - 50
    # those that need least first: what one leaves of its share, the others have
    for placed_count, number in enumerate(sorted(counts, key=lambda number: len(_text(filled_sections[number])))):
        section = filled_sections[number]
        ends = itertools.accumulate((len(entry) + 1 for entry in section.entries), initial=_length(section.head))
        counts[number] = max(0, sum(end <= room // (len(filled_sections) - placed_count) for end in ends) - 1)
        room -= _length([*section.head, *section.entries[: counts[number]]])
    cut = [
        msgspec.structs.replace(section, entries=section.entries[: counts[n]])
        for n, section in enumerate(filled_sections)
    ]
    short = [
        f"{len(section.entries) - counts[n]:,} of {len(section.entries):,} {section.plural_name}"
        for n, section in enumerate(filled_sections)
        if counts[n] < len(section.entries)
    ]
    note = f"\nLeft out, since a comment has no room for them: {', '.join(short)}; {where}."
    return "\n".join([head, note, *(_text(section) for section in cut if section.entries)])


def row(*cells: str) -> str:
    """A row of a table. A bar would end a cell, also within code, unless an odd number of backslashes is before it
    [GFM]."""
    texts = (re.sub(r"(\\*)\|", r"\1\1\\|", literal(cell)) for cell in cells)
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in texts)


def literal(text: str) -> str:
    """Text as code, so that nothing in it is Markdown, HTML or a mention: names and reasons come from people."""
    code = visible(text).replace("`", "'").replace("\n", " ")
    code = code if len(code) <= LONGEST else f"{code[:LONGEST]}…"
    return f"`{code}`" if text else ""


def notes(texts: Sequence[str]) -> Section:
    """Notes, as quotations."""
    return Section("notes", [f"\n> {literal(text)}" for text in texts], ())


def _text(section: Section) -> str:
    return "\n".join([*section.head, *section.entries])


def _length(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)
