"""Other reasons of the same kind in place of those that the library gives: nothing but what is shown may follow from
it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from link_peer.domain import denials, reasons
from link_peer.domain.denials import Denial
from link_peer.domain.reasons import Kind, Reason

ROWS = {name: row for name, row in vars(reasons).items() if isinstance(row, Reason)}
SHIFTS = range(1, max(sum(row.kind is kind for row in ROWS.values()) for kind in Kind))
"""With each of these, every reason stands for another one of its kind; with all of them, for every other one."""


@contextmanager
def swapped(shift: int) -> Iterator[None]:
    """Each reason is given where the one `shift` rows before it, of its kind, would be; 0 changes nothing."""
    shifted: dict[Reason, Reason] = {}
    for kind in Kind:
        rows = [row for row in ROWS.values() if row.kind is kind]
        shifted |= {row: rows[(number + shift) % len(rows)] for number, row in enumerate(rows)}
    table = types.SimpleNamespace(**{name: shifted[row] for name, row in ROWS.items()})
    constants = {id(constant): (constant, constant.reason) for constant in _constants()}.values()
    try:
        denials.reasons = table
        for denial, reason in constants:
            msgspec.structs.force_setattr(denial, "reason", shifted[reason])
        yield
    finally:
        denials.reasons = reasons
        for denial, reason in constants:
            msgspec.structs.force_setattr(denial, "reason", reason)


def _constants() -> Iterator[Denial]:
    """The denials that are made when the module is imported."""
    for value in vars(denials).values():
        values = value.values() if isinstance(value, dict) else [value]
        yield from (denial for denial in values if isinstance(denial, Denial))
