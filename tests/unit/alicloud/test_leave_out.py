"""Stand-ins for parts of the SDKs: there are none where the parts are installed. From the package: tests/infrastructure/package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from link_peer.alicloud.leave_out import NotInPackage, named_in
from link_peer.alicloud.sdk import meaning

ROOT = Path(__file__).parents[3]
INSTALLED = """
import sys
sys.path.insert(0, {root!r})
from link_peer.alicloud import leave_out
leave_out.install()
leave_out.install()
import aiohttp, idna, dateutil.parser, darabonba.websocket
assert issubclass(aiohttp.ClientError, Exception)
assert idna.encode("bücher.example") and dateutil.parser.parse("2026-11-25")
try:
    import no_such_module
except ModuleNotFoundError:
    print(sum(type(finder).__module__ == leave_out.__name__ for finder in sys.meta_path))
"""


def test_what_is_installed_has_no_stand_in() -> None:
    """The commands and tests run with the whole SDKs. The finders are added once, and other names are not theirs."""
    script = INSTALLED.format(root=str(ROOT / "shared"))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)  # noqa: S603
    assert run.returncode == 0, run.stderr
    assert run.stdout == "2\n"


def test_the_use_of_a_left_out_part_is_found_below_other_errors() -> None:
    """Whether the SDK raises its own error from it, during it, or keeps it in an attribute [src Tea.exceptions]."""
    missing = NotInPackage("aiohttp.ClientSession is not part of the package")
    from_it, during, kept = OSError("gone"), ValueError("meanwhile"), RuntimeError("unretryable")
    from_it.__cause__ = missing
    during.__context__ = from_it
    kept.inner_exception = during  # type: ignore[attr-defined]
    for error in (missing, from_it, during, kept):
        assert named_in(error) is missing
        assert meaning(error) is missing
    assert named_in(OSError("reset")) is None


def test_causes_that_lead_back_to_the_error_end_the_search() -> None:
    """urllib3 raises one error again while it handles another: such causes are a circle."""
    first, second = OSError("reset"), ValueError("closed")
    first.__context__, second.__context__ = second, first
    assert named_in(first) is None
    second.__cause__ = NotInPackage("idna.encode is not part of the package")
    assert named_in(first) is second.__cause__
