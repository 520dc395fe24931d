"""The simulation bites: each wrong design breaks an invariant, where the right one breaks none."""

from __future__ import annotations

import pytest

from tests.simulation.hunt import hunt
from tests.simulation.invariants import Broken
from tests.simulation.mutants import CALLS, KINDS, MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_wrong_design_is_found_out(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.change(monkeypatch)
    with pytest.raises(Broken) as found:
        hunt(mutant.hunt, kinds=KINDS, calls=CALLS)
    assert found.value.invariant.startswith("I")  # by what it does, not because it does not run


@pytest.mark.parametrize("name", sorted({mutant.hunt for mutant in MUTANTS}))
def test_the_right_design_passes_the_same(name: str) -> None:
    hunt(name, kinds=KINDS, calls=3)
