"""Coverage-guided fuzzing of everything that parses untrusted text: the properties of tests/unit/test_hostile.py, with
inputs that a fuzzer chooses by what they reach. Run it by hand; pytest does not collect it.

    pip install atheris        # Linux, Python 3.11 to 3.13; not in requirements-dev.txt
    python -m tests.fuzz.fuzz_texts a_request_matches_the_schema_or_raises_our_own_error -max_total_time=60

The first argument is the name of a property, without `test_`; without one, all names are printed. The others are passed
to libFuzzer: a folder keeps the interesting inputs. It stops at the first input for which a property does not hold,
prints what was given to the property, and writes the bytes to `crash-<hash>`, which reproduces it. When that is fixed,
add what was given as an `@example` of the property.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["link_peer", "yaml"]):
    from tests.unit import test_hostile

PROPERTIES = {
    name.removeprefix("test_"): test.hypothesis.fuzz_one_input
    for name, test in vars(test_hostile).items()
    if hasattr(test, "hypothesis")
}


def main() -> None:
    """Fuzzes the property that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] not in PROPERTIES:
        sys.exit("usage: fuzz_texts.py PROPERTY [libFuzzer options], of:\n" + "\n".join(PROPERTIES))
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, PROPERTIES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
