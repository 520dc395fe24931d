"""The simulation detects wrong designs: each breaks an invariant where the correct design breaks none."""

from __future__ import annotations

import pytest

from tests.simulation.hunt import hunt
from tests.simulation.invariants import Broken
from tests.simulation.mutants import CALLS, MUTANTS, Mutant
from tests.simulation.test_histories import SLICE


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_wrong_design_breaks_an_invariant(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.change(monkeypatch)
    with pytest.raises(Broken) as found:
        hunt(mutant.hunt, kinds=mutant.kinds, calls=CALLS)
    assert found.value.invariant.startswith("I")  # not because it failed to run


# Without kinds of their own, the scenarios of SLICE are tried there as well, with faults at more calls.
CONTROLS = sorted({(one.hunt, one.kinds) for one in MUTANTS if one.kinds or one.hunt not in SLICE})


@pytest.mark.parametrize(("name", "kinds"), CONTROLS)
def test_the_correct_design_passes_the_same_scenario(name: str, kinds: tuple[str, ...]) -> None:
    hunt(name, kinds=kinds, calls=CALLS)
