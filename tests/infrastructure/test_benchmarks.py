"""The benchmarks run: the machinery on this Python and the sources, with the smallest figures. No test looks at times."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from link_peer.planning.rota import AT_ONCE, runs_between

from benchmarks import commands, day, instructions, organisation, runner, virtual
from benchmarks.cloud import CloudProcess
from benchmarks.commands import Run
from benchmarks.figures import events, launches, people, scale
from benchmarks.process import Code, Worker
from benchmarks.runner import Bench, Row
from benchmarks.worlds import Seen

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT / "functions"), str(ROOT / "shared"), *filter(None, sys.path)]
BENCH = Bench(Code(sys.executable, FOLDERS), 1, {"LINK_PEER_POLICY": str(ROOT / "benchmarks" / "policy.yaml")})


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


def test_commands_are_measured_in_a_company_of_five_accounts() -> None:
    """Its links are opened by a real sweep, and each command is a process of its own, whose calls are counted."""
    opened, *asked = people.measure(1, size=12, only="links --json")
    assert (opened.name, opened.runs[0].code) == ("sweep", 0)
    assert opened.calls[0] > 60
    (links,) = asked
    documents = [json.loads(line) for line in links.runs[0].output.splitlines()]
    assert {one["state"] for one in documents} == {"open", "partly"}
    assert {"tag", "chg-1000"} <= {why for one in documents for why in one["claims"]}
    assert {one["from_account"] != one["to_account"] for one in documents} == {True, False}
    assert links.runs[0].cpu > 0


def test_the_table_of_commands_shows_medians_and_the_fastest_run() -> None:
    """A command that fails misses its target, however fast it is."""
    runs = [Run(wall, 0.5, 80, 0, "") for wall in (3.0, 1.0, 2.5)]
    failed = commands.Measured("links", [Run(0.1, 0.1, 80, 1, "no keys")], [3], [0.2], 2.0)
    lines = commands.table([commands.Measured("map", runs, [3, 3, 4], [0.2] * 3, 2.0), failed]).splitlines()
    assert lines[2] == "| `map` | 2.50 (1.00) | 0.50 | 0.20 | 3..4 | 80 | ≤ 2 | yes |"
    assert lines[3].endswith("| **no** |")


def test_a_handler_that_fails_says_why(tmp_path: Path) -> None:
    """Its error comes back; the process goes on."""
    (tmp_path / "broken.py").write_text("def handler(event, context):\n    raise ValueError(event.decode())\n")
    with Worker(Code(sys.executable, [str(tmp_path)]), {}, share=0.5) as worker:
        for text in ("one", "two"):
            assert worker.call("broken", text).error == f"ValueError: {text}"


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("cachegrind", "desc: I1\nfn=0\n1 5\nsummary: 924000000\n"),
        ("perf", "# started on Sun\n\n924000000,,instructions:u,1,100.00,,\n"),
    ],
)
def test_the_sum_of_instructions_is_read_from_what_the_tool_wrote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: str, text: str
) -> None:
    """Either tool writes a file of its own form, to the place that its command names."""
    monkeypatch.setattr(instructions, "counter", lambda: tool)
    (tmp_path / "count").write_text(text)
    assert any(word.endswith(str(tmp_path / "count")) for word in instructions.counting(tmp_path / "count"))
    assert instructions.counted(tmp_path / "count") == 924_000_000


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


@pytest.mark.parametrize("accounts", [3, AT_ONCE + 1])
def test_the_model_of_a_day_is_what_the_local_cloud_counts(accounts: int, tmp_path: Path) -> None:
    """At rest, with every account's turn at each run, and with the fewest that have looks between two turns."""
    of, runs = day.Organisation(accounts, 101 * accounts, 3 * accounts), runs_between(accounts)
    with virtual.deployed(organisation.written(tmp_path, accounts)) as deployment:
        organisation.settle(deployment.cloud, accounts, 3, 101)
        counted = [sum((deployment.run() for _ in range(runs)), Counter()) for _ in ("first", "then")][1]
    worked_out = day.a_day(of).calls
    assert counted["sts.AssumeRole"] * 144 // runs <= worked_out["sts.AssumeRole"]  # one process reuses its sessions
    worked_out["sts.AssumeRole"] = counted["sts.AssumeRole"] * 144 // runs
    assert {api: count * 144 // runs for api, count in counted.items()} == worked_out


def test_a_missed_link_opens_in_the_run_that_lists_its_instance() -> None:
    """On a virtual clock, and the run says how far it is."""
    runs, said = scale.missed_link(250, 2)
    assert (runs.ours, runs.met) == ([1.0], True)
    assert said.ours == "251 instances on 3 pages: all listed; rules of 3 of 3 groups read"


def test_the_page_of_costs_has_the_days_that_the_model_works_out() -> None:
    """`python -m benchmarks.day` prints them."""
    assert day.table() in (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
