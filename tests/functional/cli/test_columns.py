"""Tables in a terminal of 80, 100 and 120 columns: no row is wrapped, and what is left out is said; CSV and JSON are
whole."""

from __future__ import annotations

import csv
import io
import re

import pytest
from rich.cells import cell_len

from tests.functional.command import Cli, linked_by_request, person
from tests.functional.lab import HOME, PEER, Lab

COMMANDS = (
    *("links", "who {db}", "audit", "plan {node}", "doctor", "account list", "failed", "sweep --dry-run"),
    *("close {db} --dry-run", "close --all --dry-run", "reopen --all --dry-run", "account remove {peer} --dry-run"),
)
PROSE = ("advice: ", "→ ", "link-peer ", "aliyun ", "Nothing", "No ")
"""How lines begin that are no rows: commands are copied whole."""


def estate(lab: Lab) -> dict[str, str]:
    """Links and a person's rules between groups with long names of wide characters, and the words of COMMANDS."""
    app, db, _, node = linked_by_request(lab)
    for number in range(3):
        other_group = lab.group(
            f"*@{PEER}", name=f"数据库-production-orders-database-of-the-platform-{number}\n\x1b[2J"
        )
        lab.instance(other_group, name="x" * 120)
        person(lab, db, other_group, PortRange=f"{number + 1}/{number + 1}", Description="d" * 200)
    lab.policy_account(PEER, name="the-account-of-the-data-platform")
    lab.instance(app, name="a very long name " * 5)
    return {"db": f"{db.id}@{HOME}", "node": f"{node.id}@{HOME}", "peer": PEER}


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("command", COMMANDS)
def test_no_row_is_wrapped(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """The rows under a heading, with whatever names."""
    words = estate(lab)
    for width in (80, 100, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        assert cli(*command.format(**words).split()) in (0, 1)
        rows = [line for line in cli.out.splitlines() if not line.strip().startswith(PROSE)]
        long_rows = [line for line in rows if cell_len(line) > width]
        assert long_rows == [], (width, long_rows)
        print(cli.out)


@pytest.mark.usefixtures("terminal")
def test_what_is_left_out_is_said_and_is_in_wide_and_csv(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `links`, since when; at 150 columns nothing is left out."""
    estate(lab)
    assert cli("links") == 0
    assert "since" in cli.out.splitlines()[0]
    assert "left out" not in cli.out
    monkeypatch.setenv("COLUMNS", "60")
    assert cli("links") == 0
    assert "since" not in cli.out.splitlines()[0]
    assert "left out at 60 columns: since, claims; -o wide prints all" in cli.out
    assert cli("links", "-o", "wide") == 0
    assert "since" in cli.out.splitlines()[0]
    assert cli("links", "-o", "csv") == 0
    [row] = csv.DictReader(io.StringIO(cli.out))
    assert row["since"]


@pytest.mark.usefixtures("terminal")
def test_who_says_who_asked_and_who_consented(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its usual table, also at 80 columns; the id of the rule is in `-o wide`."""
    _, db, _, _ = linked_by_request(lab)
    monkeypatch.setenv("COLUMNS", "80")
    source = next(row for row in cli.json("who", db.id)[1] if row["by"] == "link-peer")
    assert cli("who", db.id) == 0
    heading, *rows = cli.out.splitlines()
    [row] = [row for row in rows if "link-peer" in row]
    assert "asked by" in heading
    assert "consented by" in heading
    assert source["asked_by"][0].split()[0] in row
    assert source["rule_id"] not in cli.out
    assert cli("who", db.id, "-o", "wide") == 0
    assert source["rule_id"] in cli.out


@pytest.mark.usefixtures("terminal")
def test_the_log_is_in_names_and_says_who_did_it_at_80_columns(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When, from whom, to whom, by whom; ids are in `-o wide`. A name of two parties of the log is no name, and one
    that cannot be read is an id."""
    app, db = lab.group(name="app"), lab.group("*", name="db")
    twins = [lab.group("*", name="twin") for _ in range(2)]
    lab.cross_account(*(lab.request(app, group, "tcp/3306") for group in (db, *twins)))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    assert cli("audit", "outcome=applied") == 0
    heading, *rows = [line for line in cli.out.splitlines()[1:] if not line.startswith(PROSE)]
    assert heading.split() == ["time", "outcome", "from", "to", "ports", "actor", "why"]
    assert [row.split()[3:5] for row in rows] == [["app", name] for name in ("db", *(t.id for t in twins))]
    assert all(row.split()[6] == "queue" for row in rows)
    assert cli("audit", "outcome=applied", "-o", "wide") == 0
    assert db.id[:8] in cli.out
    assert " db " not in cli.out
    lab.fault(service="ecs", action="DescribeSecurityGroups", kind="error", times=None)
    assert cli("audit", "outcome=applied") == 0
    assert db.id[:8] in cli.out


PREVIEWS = ("close {db}", "close --between {app} {db}", "account remove {peer}", "plan {node}", "sweep")


@pytest.mark.usefixtures("terminal")
@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("command", PREVIEWS)
def test_a_preview_is_in_names_and_wide_has_the_ids(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """But for the calls that it would make, which are copied; JSON has ids alone."""
    monkeypatch.setenv("COLUMNS", "120")
    app, db, far = lab.group(name="app"), lab.group(f"*,*@{PEER}", name="db"), lab.group(name="far", account=PEER)
    lab.cross_account(lab.request(app, db, "tcp/1"), lab.request(far, db, "tcp/2"))
    node = lab.instance(lab.group(name="node"), name="node-1", tags={"link-peer": f"{db.id}:tcp/3"})
    words = {"app": app.id, "db": db.id, "peer": PEER, "node": node.id}
    preview = [*command.format(**words).split(), *([] if "plan" in command else ["--dry-run"])]
    expected_names = {
        "close": "app@",
        "close --between": "app@",
        "account remove": "far@",
        "plan": "db@",
        "sweep": "db@",
    }
    for options, is_wide in (([], False), (["-o", "wide"], True)):
        assert cli(*preview, *options) == 0, cli.err
        lines = [line for line in cli.out.splitlines() if not line.startswith(("aliyun ", "# account "))]
        assert any(re.search(r"\b(sg|i)-", line) for line in lines) == is_wide, cli.out
        assert (expected_names[command.partition(" {")[0]] in cli.out) == (not is_wide), cli.out
    assert cli(*preview, "-o", "json") == 0
    assert db.id in cli.out


@pytest.mark.usefixtures("terminal")
def test_what_is_reopened_and_adopted_is_named(lab: Lab, cli: Cli) -> None:
    """Before it is done; an adoption has the ids too, since anybody may have chosen the names."""
    app, db = lab.group(name="app"), lab.group("*", name="db")
    rule = person(lab, db, app, PortRange="1/1")
    assert cli("adopt", rule, "--anyone-may-close", "--dry-run") == 0, cli.err
    first_line, second_line, *_ = cli.out.splitlines()
    assert re.fullmatch(r"app@\S+ -> db@\S+, tcp/1", first_line)
    assert second_line.split() == [f"{app.id}@{HOME}", "->", f"{db.id}@{HOME}"]
    assert cli("close", db.id, "--yes") == 0, cli.err
    assert cli("close", "--between", app.id, db.id, "--yes") == 1, cli.err  # a person's rule stands
    for words, line in (
        (["--all"], r"groups to unlock: db@\S+"),
        (["--between", app.id, db.id], r"groups that would no longer refuse the other end: app@\S+, db@\S+"),
    ):
        assert cli("reopen", *words, "--dry-run") == 0, cli.err
        assert re.fullmatch(line, cli.out.splitlines()[0]), cli.out
