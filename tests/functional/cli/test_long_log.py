"""`link-peer audit` of a long log reads what it prints: the newest lines from the end, all of it from the beginning,
page by page."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest
from aliyun.log import logclient
from aliyun.log.getlogsresponse import GetLogsResponse
from aliyun_local.api import LogGroup, LogRecord
from link_peer.domain.tags import iso_millis

from tests.functional.command import Cli
from tests.functional.lab import HOME, Lab

Writes = Callable[..., None]
DAY = 86_400


@pytest.fixture(name="write")
def _write(lab: Lab) -> Writes:
    """`write(count, seconds, …)`: so many outcomes, evenly over the last so many seconds, with these fields; `{n}` in
    one is the record's number."""

    def write(count: int, seconds: float = DAY - 60, store: str = "", **fields: str) -> None:
        world, now = lab.cloud.world, lab.cloud.clock.now()
        records = []
        for number in range(count):
            moment = now - seconds + seconds * number / count
            contents = {
                "record": "outcome",
                "outcome": "denied",
                "link": "{n:016x}",
                "time": iso_millis(moment),
                **fields,
            }
            contents = {name: value.format(n=number) for name, value in contents.items()}
            records.append(LogRecord(int(moment), int(moment % 1 * 1e9), contents))
        lab.cloud.sls.put(HOME, world.audit_project, store or world.audit_logstore, LogGroup(tuple(records)))

    return write


def reads(lab: Lab) -> int:
    return lab.cloud.faults.count("sls", "GetLogs")


def requests(cli: Cli, *options: str) -> list[str]:
    return [record["request_id"] for record in cli.json("audit", *options)[1]]


@pytest.mark.parametrize("count", [1_000, 100_000])
@pytest.mark.usefixtures("terminal")
def test_the_newest_lines_take_the_same_calls_of_a_log_of_any_length(
    lab: Lab, cli: Cli, write: Writes, count: int
) -> None:
    """The newest is the last line. That older records were not read is said."""
    write(count, request_id="chg-{n}")
    for options, lines, calls in (((), 100, 2), (("--limit", "101"), 101, 3)):
        before = reads(lab)
        assert cli("audit", *options) == 0
        assert reads(lab) - before == calls <= 8
        denial_lines = [line for line in cli.out.splitlines() if "  denied  " in line]
        assert ["chg-" + line.partition("chg-")[2].split()[0] for line in denial_lines] == [
            f"chg-{number}" for number in range(count - lines, count)
        ]
        assert cli.out.startswith("audit log, the newest ")
        assert "\n… older records were not read: --limit 0 prints all\n" in cli.out


def test_so_many_records_are_printed_as_were_asked_for(lab: Lab, cli: Cli, write: Writes) -> None:
    """Of both logstores together, the newest, in order of time."""
    write(450, request_id="functions-{n}")
    write(250, store=f"{lab.cloud.world.audit_logstore}-operators", request_id="people-{n}")
    whole = requests(cli, "--limit", "0")
    assert len(whole) == 700
    assert requests(cli, "--limit", "220") == whole[-220:]
    assert requests(cli, "--limit", "701") == requests(cli) == whole
    assert reads(lab) < 40


def test_a_log_that_repeats_itself_is_not_read_to_its_end(lab: Lab, cli: Cli, write: Writes) -> None:
    """Equal records about one link are one line: a hundred lines may be more than there are."""
    write(20_000, link="f" * 16, request_id="chg-1")
    assert cli("audit") == 0
    assert reads(lab) <= 8
    assert cli.out.splitlines()[1].split("\t")[-2] == "500"  # how often


def test_records_of_one_actor_are_found_however_old_they_are(lab: Lab, cli: Cli, write: Writes) -> None:
    """No query of the log finds the end of an ARN: others' records are read until enough are found, or nothing is
    left."""
    write(1, seconds=DAY - 1, actor=f"acs:ram::{HOME}:user/ann", request_id="chg-ann")
    write(900, actor="timer")
    assert cli("audit", "actor=user/ann") == 0
    assert "chg-ann" in cli.out
    assert cli("audit", "actor=user/bob") == 0
    assert "No records." in cli.err
    write(150, seconds=60, actor=f"acs:ram::{HOME}:user/ann")
    before = reads(lab)
    assert cli("audit", "actor=user/ann") == 0
    assert reads(lab) - before == 2


def test_a_log_that_is_ordered_by_the_minute_is_read_to_the_end_of_a_minute(
    lab: Lab, cli: Cli, write: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the newest records are printed, also where SLS does not say that it orders them more exactly."""
    lab.cloud.clock.sleep(59 - lab.cloud.clock.now() % 60)
    write(250, seconds=30)
    monkeypatch.setattr(GetLogsResponse.GetLogsResponseMeta, "get_is_accurate", lambda _meta: False)
    before = reads(lab)
    assert len(cli.json("audit", "--limit", "5")[1]) == 5
    assert reads(lab) - before == 4  # all three pages of that minute, and people's


@pytest.mark.parametrize(
    "options",
    [
        ("--json",),
        (
            "-o",
            "csv",
        ),
        ("--limit", "0"),
    ],
)
def test_all_of_a_log_is_printed_as_it_is_read(lab: Lab, cli: Cli, write: Writes, options: tuple[str, ...]) -> None:
    """In order, the oldest first. What was read before the log fails for good is printed."""
    write(650, request_id="chg-{n}", detail="of chg-{n}")
    assert cli("audit", *options) == 0
    whole, heading = cli.out.splitlines(), options != ("--json",)
    numbers = [f"chg-{n}" for n in range(650)]
    assert len(whole) == 650 + heading
    assert all(number in line for number, line in zip(numbers, whole[heading:], strict=True))
    skipped = (
        4
        if heading
        and options
        != (
            "-o",
            "csv",
        )
        else 0
    )  # for the advice that holds now
    lab.fault(service="sls", action="GetLogs", kind="reset", skip=4 + skipped + (2 if skipped else 0), times=None)
    assert cli("audit", *options) == 1
    assert cli.out.splitlines() == whole[: len(cli.out.splitlines())]
    assert 200 <= len(cli.out.splitlines()) < 650


def test_csv_that_is_printed_in_parts_has_one_line_of_names(cli: Cli, write: Writes) -> None:
    """Also where nothing is in it."""
    assert cli("audit", "-o", "csv") == 0
    names = cli.out
    write(250)
    assert cli("audit", "-o", "csv") == 0
    rows = list(csv.reader(cli.out.splitlines()))
    assert (cli.out.startswith(names), len(rows), rows.count(rows[0])) == (True, 251, 1)


@pytest.mark.usefixtures("terminal")
def test_all_of_a_log_on_a_terminal_has_its_number_and_advice_at_the_end(cli: Cli, write: Writes) -> None:
    """Lines that repeat others are folded where they were read together. Old advice is no command to type."""
    write(150, advice="tag it: link-peer accept sg-{n}")
    assert cli("audit", "--limit", "0") == 0
    lines = cli.out.splitlines()
    assert [line for line in lines if line.startswith("audit log")] == ["audit log, 150 records"]
    assert sum(" denied" in line for line in lines) == 150
    assert lines[-1].startswith("advice: of ")
    assert not any(line.startswith("link-peer accept") for line in lines)


def test_an_answer_that_is_incomplete_is_asked_for_again(
    lab: Lab, cli: Cli, write: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLS answers with what it has read so far where it was too busy. One that stays incomplete is no answer."""
    write(3)
    monkeypatch.setattr(logclient, "DEFAULT_QUERY_RETRY_INTERVAL", 0)
    complete, answers = GetLogsResponse.is_completed, [False] * 6
    monkeypatch.setattr(GetLogsResponse, "is_completed", lambda answer: answers.pop() if answers else complete(answer))
    assert len(cli.json("audit")[1]) == 3
    answers += [False] * 1000
    assert cli("audit") == 1
    assert cli.err == "the audit log cannot be read now: its answer is incomplete\n"


def test_a_record_that_arrives_meanwhile_hides_and_repeats_none(
    lab: Lab, cli: Cli, write: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves the older ones to the next page."""
    write(300, request_id="chg-{n}")
    search = lab.cloud.sls.search

    def while_others_write(*args: Any, **options: Any) -> Any:
        page = search(*args, **options)
        write(3, seconds=0.5, request_id="late-{n}")
        return page

    monkeypatch.setattr(lab.cloud.sls, "search", while_others_write)
    printed = requests(cli, "--limit", "250")
    assert printed == [f"chg-{n}" for n in range(50, 300)]
