"""The simulation detects wrong designs: each breaks an invariant where the correct design breaks none."""

from __future__ import annotations

import pytest

from tests.sample import sample
from tests.simulation.invariants import Broken
from tests.simulation.mutants import MUTANTS, Mutant, hunt
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.test_histories import SLICE

DESIGNS = 6
"""`make test` tries one of so many, and of the correct design half as many scenarios; `make prove` all."""


@pytest.mark.parametrize("mutant", sample(MUTANTS, DESIGNS), ids=lambda mutant: mutant.name)
def test_a_wrong_design_breaks_an_invariant(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.change(monkeypatch)
    with pytest.raises(Broken) as error:
        hunt(mutant.hunt, mutant.kinds)
    assert error.value.invariant.startswith("I")  # not because it failed to run


def _tried(mutant: Mutant) -> bool:
    """Whether test_histories tries the same faults in the same scenario, at more calls."""
    return mutant.hunt in SLICE and {*mutant.kinds} <= {*SCENARIOS[mutant.hunt].kinds}


CONTROLS = sorted({(mutant.hunt, mutant.kinds) for mutant in MUTANTS if not _tried(mutant)})


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "kinds"), sample(CONTROLS, 2 * DESIGNS))
def test_the_correct_design_passes_the_same_scenario(name: str, kinds: tuple[str, ...]) -> None:
    hunt(name, kinds)
