"""The benchmarks run: the machinery on this Python and the sources, with the smallest figures. No test looks at times."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import runner
from benchmarks.cloud import CloudProcess
from benchmarks.figures import events, launches
from benchmarks.process import Code, Worker
from benchmarks.runner import Bench, Row
from benchmarks.worlds import Seen

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT / "functions"), str(ROOT / "shared"), *filter(None, sys.path)]
BENCH = Bench(Code(sys.executable, FOLDERS), 1, {"LINK_PEER_POLICY": str(ROOT / "policy.yaml")})


def test_an_event_is_counted_call_by_call() -> None:
    """The function runs in one process, the cloud in another."""
    (row,) = events.untagged(BENCH, None, [0])
    assert isinstance(row.ours, str)
    assert int(row.ours) >= 1


def test_launches_are_shared_by_workers() -> None:
    """Every rule stands afterwards, and only what changes rules or tags counts as a change."""
    calls = launches.launch(BENCH, launches=4, links=2, workers=2)
    assert calls["AuthorizeSecurityGroup"] >= 2
    assert calls["DescribeInstances"] >= 4


def test_a_handler_that_fails_says_why(tmp_path: Path) -> None:
    """Its error comes back; the process goes on."""
    (tmp_path / "broken.py").write_text("def handler(event, context):\n    raise ValueError(event.decode())\n")
    with Worker(Code(sys.executable, [str(tmp_path)]), {}, share=0.5) as worker:
        for text in ("one", "two"):
            assert worker.call("broken", text).error == f"ValueError: {text}"


def test_a_problem_in_the_cloud_is_raised_where_it_was_asked() -> None:
    """And the cloud answers the next question."""
    with CloudProcess() as cloud:
        with pytest.raises(ZeroDivisionError):
            cloud(_divide, 0)
        assert cloud(_divide, 2) == 3


def _divide(_cloud: object, number: int) -> int:
    return 6 // number


@pytest.mark.parametrize(
    ("times", "most"),
    [
        ([], 0),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 2), (1, 3), (2, 4)], 2),
        ([(0, 9), (1, 2), (3, 4)], 2),
    ],
)
def test_calls_in_a_row_do_not_overlap(times: list[tuple[float, float]], most: int) -> None:
    """Calls side by side count once."""
    assert events.in_a_row([Seen("ecs", "A", started, ended) for started, ended in times]) == most


def test_the_table_shows_medians_and_the_file_every_sample(tmp_path: Path) -> None:
    """Numbers are shortened in the table only; a missed target is marked."""
    rows = [
        Row("CPU", "ms", [349.4, 300.0, 400.0], before="350", **runner.at_most([349.4], 42)),  # type: ignore[arg-type]
        Row("works", "", "yes", floor=[0.094]),
    ]
    lines = runner.table(rows).splitlines()
    assert lines[2] == "| CPU, ms | – | – | – | 350 | 349 (300..400) | ≤ 42 | **no** |"
    assert lines[3] == "| works | 0.094 | – | – | – | yes |  |  |"
    runner.write("a machine", rows, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text())["rows"][0]["ours"] == [349.4, 300.0, 400.0]
