"""`link-peer audit` prints one line a record, and the whole story of one request or link."""

from __future__ import annotations

import csv
import re

import pytest

from tests.functional.command import Cli
from tests.functional.lab import Lab


@pytest.mark.knobs(request_tags=True)
@pytest.mark.usefixtures("terminal")
def test_a_record_is_one_line(lab: Lab, cli: Cli) -> None:
    """Time, outcome, link, who asked, why; the newest is the last one. Ids are whole in any width."""
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.cross_account(lab.request(app, db, "tcp/2", requested_by="ann", reason="orders"))
    assert cli("audit") == 0
    title, first, second = cli.out.splitlines()
    assert title == "audit log, 2 records"
    when = lab.outcome()["time"][:19].replace("T", " ")
    assert re.split("  +", second) == [
        when,
        "applied",
        f"{app.id}@a@aliyun.com → {db.id}@a@aliyun.com tcp/2",
        "chg-1 (ann)",
        "orders",
    ]
    assert f"tag of {instance.id}" in first


@pytest.mark.usefixtures("terminal")
def test_repeats_are_folded_and_changes_are_not(lab: Lab, cli: Cli) -> None:
    """Three equal denials in a row are one line at the newest one; what was opened twice is two lines."""
    app, db = lab.group(), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    for _ in range(3):
        lab.auto_link(lab.event(instance))
    for consent in ("*", None, "*"):
        lab.tag(db, link_accept=consent)
        lab.auto_link(lab.event(instance))
    assert cli("audit") == 0
    lines = [line.split("  ")[1].strip() for line in cli.out.splitlines()[1:] if " → " in line]
    assert lines == ["denied", "applied", "removed", "denied", "applied"]
    assert cli.out.count("(3×, first ") == 1


@pytest.mark.usefixtures("terminal")
def test_limit_keeps_the_newest(lab: Lab, cli: Cli) -> None:
    """Of lines for people, with a word on the older ones, and of records for programs."""
    app, db = lab.group(), lab.group("*")
    for port in (1, 2, 3):
        lab.cross_account(lab.request(app, db, f"tcp/{port}", request_id=f"chg-{port}"))
    assert cli("audit", "--limit", "1") == 0
    assert "… 2 older lines" in cli.out
    assert ("chg-3" in cli.out, "chg-2" in cli.out) == (True, False)
    assert [r["request_id"] for r in cli.json("audit", "--limit", "2")[1]] == ["chg-2", "chg-3"]
    assert len(cli.json("audit", "--limit", "0")[1]) == 3


@pytest.mark.usefixtures("terminal")
def test_the_story_of_a_request_ends_with_its_removal(lab: Lab, cli: Cli) -> None:
    """Its intent and outcome, and the removal by another request that names the same link; nothing of other links."""
    app, db, other = lab.group(), lab.group("*"), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-1042"))
    lab.cross_account(lab.request(app, other, "tcp/1", request_id="chg-7"))
    link = lab.records("outcome", request_id="chg-1042")[0]["link"]
    lab.tag(db, link_accept=None)
    lab.cloud.clock.sleep(3 * 86400)
    lab.instance(app)
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-1043"))
    lab.sweep()
    code, records = cli.json("audit", "--story", "chg-1042")
    assert code == 0
    assert [(r["record"], r.get("outcome", "")) for r in records][:2] == [("intent", ""), ("outcome", "applied")]
    assert {r["link"] for r in records} == {link}
    assert "removed" in [r.get("outcome") for r in records]
    assert cli.json("audit", "--story", link)[1] == records
    assert cli("audit", "--story", "chg-1042") == 0
    assert cli.out.startswith(f"the story of chg-1042, {len(records)} records\n")
    assert cli("audit", "--story", "chg-1042", "--outcome", "applied") == 2
    assert cli("audit", "--story", 'x" or "y') == 2


def test_csv_has_a_line_of_names_and_no_formula(lab: Lab, cli: Cli) -> None:
    """A justification that begins like a formula gets a quote before it."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/2", reason='=HYPERLINK("x")'))
    assert cli("audit", "--csv") == 0
    [row] = csv.DictReader(cli.out.splitlines())
    assert (row["outcome"], row["to"], row["claimed_reason"]) == ("applied", db.id, '\'=HYPERLINK("x")')
    assert cli("audit", "--csv", "--json") == 2
