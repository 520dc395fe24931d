"""What is imported of the SDKs: models on demand, no stand-in for a part that is installed, and patterns that are
compiled when they are used. From the package: tests/infrastructure/package."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
from link_peer.alicloud import late_patterns
from link_peer.alicloud.leave_out import NotInPackage, named_in
from link_peer.alicloud.sdk import meaning

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from link_peer.alicloud import lazy_models, leave_out
for _ in range(2):
    leave_out.install()
    lazy_models.install()
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
request = models.DescribeInstancesRequest(region_id="r", tag=[models.DescribeInstancesRequestTag(key="k")])
assert request.to_map()["Tag"] == [{{"Key": "k"}}], request.to_map()
try:
    models.NoSuchModel
except AttributeError as error:
    assert "NoSuchModel" in str(error)
else:
    raise AssertionError("an unknown model must be an AttributeError")
assert models.DescribeVSwitchesRequest(region_id="r").region_id == "r"  # not where its name says
import aiohttp, idna, dateutil.parser, darabonba.websocket
assert issubclass(aiohttp.ClientError, Exception)
assert idna.encode("bücher.example") and dateutil.parser.parse("2026-11-25")
try:
    import no_such_module
except ModuleNotFoundError:
    print(sum(type(finder).__module__ == leave_out.__name__ for finder in sys.meta_path))
print(sum(name.startswith("alibabacloud_ecs20140526.models.") for name in sys.modules))
"""


def run(script: str) -> list[str]:
    """The lines that a process of its own prints."""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)  # noqa: S603
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_only_the_models_in_use_are_loaded_and_what_is_installed_has_no_stand_in() -> None:
    """Of more than a thousand model modules, and they behave as usual. The commands and tests run with the whole SDKs;
    the finders are added once, and other names are not theirs."""
    finders, models = run(SCRIPT.format(root=str(ROOT / "shared")))
    assert finders == "2"
    assert 1 <= int(models) <= 3


def test_an_sdk_of_another_form_is_imported_as_usual(tmp_path: Path) -> None:
    """A release may name its modules in another way: that costs time, and no model."""
    models = tmp_path / "alibabacloud_ecs20140526" / "models"
    models.mkdir(parents=True)
    (tmp_path / "alibabacloud_ecs20140526" / "__init__.py").touch()
    (models / "__init__.py").write_text("from .everything import *\n")
    (models / "everything.py").write_text("class TagResourcesRequest:\n    pass\n")
    script = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT / "shared")!r}]
from link_peer.alicloud import lazy_models
lazy_models.install()
from alibabacloud_ecs20140526 import models
print(models.TagResourcesRequest.__module__, hasattr(models, "NoSuchModel"))
"""
    assert run(script) == ["alibabacloud_ecs20140526.models.everything False"]


def test_the_use_of_a_left_out_part_is_found_below_other_errors() -> None:
    """Whether the SDK raises its own error from it, during it, or keeps it in an attribute [src Tea.exceptions]."""
    missing = NotInPackage("aiohttp.ClientSession is not part of the package")
    from_it, during, runtime_error = OSError("gone"), ValueError("meanwhile"), RuntimeError("unretryable")
    from_it.__cause__ = missing
    during.__context__ = from_it
    runtime_error.inner_exception = during  # type: ignore[attr-defined]
    for error in (missing, from_it, during, runtime_error):
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


BODY = "A = re.compile('a(b+)', flags=re.I)\nB = re.compile('(')\ndef made(): return re.compile('x')\nC = made()"


def test_a_pattern_of_a_listed_module_is_compiled_by_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then not even a pattern that is wrong is noticed. It is as good as a pattern wherever one is expected. Any
    other is compiled at once: that of a function, and that of another module."""
    monkeypatch.setattr(re, "compile", re.compile)  # restored afterwards
    late_patterns.install()
    exec(BODY, namespace := {"__name__": "urllib3.util", "re": re})  # noqa: S102
    late: re.Pattern[str] = namespace["A"]  # type: ignore[assignment]
    assert (type(late), type(namespace["C"])) == (late_patterns._Late, re.Pattern)
    assert isinstance(late, re.Pattern)
    assert (re.sub(late, "-", "xABB"), re.compile(late), copy.deepcopy(late)) == ("x-", late, re.compile("a(b+)", re.I))
    assert (late.pattern, late.sub(r"\1", "ab"), late.groups) == ("a(b+)", "b", 1)
    with pytest.raises(re.error):
        namespace["B"].match("x")  # type: ignore[attr-defined]
    with pytest.raises(re.error):
        exec(BODY, {"__name__": "theirs.http", "re": re})  # noqa: S102


LOADED = """
import sys, threading
sys.path[:0] = [{folder!r}, {root!r}]
from link_peer.alicloud import leave_out
leave_out.DEFERRED |= {{"slow"}}
leave_out.install()
import gate, slow
lock, values = leave_out._Deferred._lock, []
class Lock:
    def __enter__(self):
        if threading.current_thread() is second_thread:
            gate.looked.set()
        lock.acquire()
    def __exit__(self, *_):
        lock.release()
leave_out._Deferred._lock = Lock()
def look():
    try:
        values.append((slow.early, slow.late))
    except AttributeError as error:
        values.append(error)
    gate.looked.set()
first_thread, second_thread = threading.Thread(target=lambda: slow.late), threading.Thread(target=look)
first_thread.start()
gate.is_loading.wait()
second_thread.start()
gate.looked.wait()
gate.may_end.set()
first_thread.join()
second_thread.join()
print(values, type(slow).__name__, slow.__loader__.__class__.__name__)
"""


def test_no_thread_sees_a_deferred_module_that_another_one_has_half_loaded(tmp_path: Path) -> None:
    """It waits until the module is whole, also for names that are there already."""
    (tmp_path / "gate.py").write_text(
        "import threading\nis_loading, looked, may_end = threading.Event(), threading.Event(), threading.Event()\n"
    )
    body = "import gate, slow\nearly = 1\nassert slow.early\ngate.is_loading.set()\ngate.may_end.wait()\nlate = early + 1\nearly = 3\n"
    (tmp_path / "slow.py").write_text(body)
    script = LOADED.format(folder=str(tmp_path), root=str(ROOT / "shared"))
    assert run(script) == ["[(3, 2)] module SourceFileLoader"]
