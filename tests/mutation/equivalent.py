"""The mutants that change nothing anyone could notice: equivalent.yaml, each with the reason."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

from tests.mutation.mutants import Mutant

LIST = Path(__file__).with_name("equivalent.yaml")
Key = tuple[str, str, str]


def key(mutant: Mutant) -> Key:
    """What names a mutant wherever its function moves: the function, and the lines before and after."""
    return (mutant.unit, *mutant.change())


@functools.cache
def listed() -> frozenset[Key]:
    """The keys of the list."""
    return frozenset((one["in"], one["was"], one["now"]) for one in entries())


def entries() -> list[dict[str, str]]:
    """The list as it is written: `in`, `was`, `now`, `why`."""
    return yaml.safe_load(LIST.read_text(encoding="utf-8")) or []
