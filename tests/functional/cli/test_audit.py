"""`link-peer audit` prints one line a record, and the whole story of one request or link; it filters and follows
them."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

import pytest
import yaml
from aliyun_local.api import LogGroup, LogRecord
from link_peer.domain.record_fields import DECISION
from link_peer_cli.ui.console import when
from link_peer_cli.ui.records import folded
from link_peer_deploy.description import describe
from link_peer_deploy.names import Names

from tests.functional.cli.test_audit_verify import as_role, rule, write
from tests.functional.command import Cli, take_turns
from tests.functional.lab import HOME, PEER, Lab


@pytest.mark.knobs(request_tags=True)
@pytest.mark.usefixtures("terminal")
def test_a_record_is_one_line(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of at most 120 columns: time, outcome, link, who caused it, who asked and why; the newest is the last one. Ids
    are whole in any width, and a party of home has no account; `-o wide` has everything."""
    app, db = lab.group(), lab.group("*")
    lab.started(app, tags={"link-peer": f"{db.id}:tcp/10"})
    lab.cross_account(lab.request(app, db, "tcp/2", requested_by="ann", reason="orders"))
    monkeypatch.setenv("COLUMNS", "120")
    assert cli("audit") == 0
    title, head, first, second = cli.out.splitlines()
    assert (title, head.split()) == ("audit log, 2 records", ["time", "outcome", "from", "to", "ports", "actor", "why"])
    assert max(map(len, (head, first, second))) <= 120
    start = [when(lab.outcome()["time"])[5:], "applied", app.id, db.id, "tcp/2"]
    assert re.split("  +", second) == [*start, "queue", "chg-1 (ann)", "orders"]
    assert cli("audit", "-o", "wide") == 0
    wide = re.split("  +", cli.out.splitlines()[-1])
    assert wide[1:8] == [*start[1:], "link-peer-requests", "orders", "chg-1 (ann)"]
    assert [record["ports"] for record in cli.json("audit", "--sort-by", "ports")[1]] == ["tcp/2", "tcp/10"]
    assert cli("audit", "--sort-by", "none") == 2


@pytest.mark.usefixtures("terminal")
def test_a_narrow_terminal_shows_the_reason(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before how often it happened, and who asked."""
    lab.cross_account(*[lab.request(lab.group(), lab.group(), "tcp/2", requested_by="ann")] * 2)
    monkeypatch.setenv("COLUMNS", "80")
    assert cli("audit") == 0
    assert [line.rpartition("queue  ")[2] for line in cli.out.splitlines() if "queue  " in line] == ["no-consent …"]


def test_lines_are_in_the_order_of_their_times() -> None:
    """The event of a person's call comes after what the call led to: its record is folded into that of the command,
    which is older."""
    call = {"record": "observed", "to": "sg-db", "event_request": "r-1"}
    records = [
        {"time": "10:00", "claimed_by": "ann", "old_tags": "{}", **call},
        {"time": "10:01", "record": "outcome", "link": "1", "outcome": "applied"},
        {"time": "10:02", **call},
    ]
    assert [line.record["time"] for line in folded(records)] == ["10:00", "10:01"]


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
    assert [line.split("  ")[1].strip() for line in cli.out.splitlines() if f"  {app.id}" in line] == [
        *("denied", "applied", "removed", "denied", "applied")
    ]
    assert cli.out.count("(3×, first ") == 1


@pytest.mark.usefixtures("terminal")
def test_a_closing_is_one_line_with_the_person_who_closed(lab: Lab, cli: Cli) -> None:
    """Also where the event of the lock removes the rule at the same moment. `actor=` takes the end of an ARN."""
    app, db = lab.group(), lab.group("*")
    lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.meanwhile("RevokeSecurityGroup", lambda: lab.auto_link(lab.group_event(db)))
    lab.cloud.clock.sleep(60)
    assert cli("close", db.id, "--yes") == 0
    assert len(lab.records("outcome", outcome="removed")) == 2
    assert cli("audit", "--from", "30s", "-o", "wide") == 0
    [line] = [line for line in cli.out.splitlines() if "  removed  " in line]
    assert f"  close by acs:ram::{HOME}:root  " in line
    outcomes = [
        (record["function"], record["outcome"]) for record in cli.json("audit", "actor=root", "record=outcome")[1]
    ]
    assert outcomes == [("close", "removed")]
    first = lab.records()[0]["time"]
    spans = [(("--to", lab.iso(-30)), 1), (("--to", first), 1), (("--to", first[:-4] + "000Z"), 0)]
    for span, count in (*spans, (("--from", "90s", "--to", "30s"), 1), (("--from", "30s"), 2)):
        assert len(cli.json("audit", "record=outcome", *span)[1]) == count


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
    app, db, other_group = lab.group(), lab.group("*"), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-1042"))
    lab.cross_account(lab.request(app, other_group, "tcp/1", request_id="chg-7"))
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
    assert cli("audit", "--story", "chg-9") == 1
    assert "the audit log has no record of chg-9 since " in cli.err


@pytest.mark.parametrize("fields", [{"key": ""}, {"detail": "none"}], ids=["no key", "the key of another record"])
def test_a_story_has_what_was_written_twice_once_and_every_other_record(
    lab: Lab, cli: Cli, fields: dict[str, str]
) -> None:
    """SLS stores a record at least once, each time as received. A writer chooses the key: it hides no record of another
    log."""
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1"))
    story = [{**record, "received": ""} for record in cli.json("audit", "--story", "chg-1")[1]]
    record = lab.outcome()
    lab.cloud.clock.advance(60)
    write(lab, record)
    assert [{**record, "received": ""} for record in cli.json("audit", "--story", "chg-1")[1]] == story
    for _ in range(2):
        write(lab, {**record, **fields}, f"{lab.cloud.world.audit_logstore}-operators")
    logs = [record["logstore"] for record in cli.json("audit", "--story", "chg-1")[1]]
    assert (len(logs), len(set(logs))) == (len(story) + 1, 2)


def test_csv_has_a_line_of_names_and_no_formula(lab: Lab, cli: Cli) -> None:
    """A justification that begins like a formula gets a quote before it."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/2", reason='=HYPERLINK("x")'))
    assert cli("audit", "-o", "csv") == 0
    [row] = csv.DictReader(cli.out.splitlines())
    assert list(row) == [field.name for field in DECISION]
    assert (row["outcome"], row["to"], row["claimed_reason"]) == ("applied", db.id, '\'=HYPERLINK("x")')


@pytest.mark.usefixtures("terminal")
def test_records_are_filtered_and_printed_with_advice(lab: Lab, cli: Cli) -> None:
    """By outcome, reason, party, account, link, event, request and time."""
    app, db, cache = lab.group(), lab.group("*"), lab.group()
    lab.started(app, tags={"link-peer": f"{db.id}:tcp/3306 {cache.id}:tcp/6379"})
    lab.cross_account(lab.request(app, db, "tcp/443"))

    def filtered_rows(*filters: str) -> list[tuple[str, str]]:
        code, records = cli.json("audit", *filters)
        assert code == 0
        return sorted((record["to"], record["ports"]) for record in records)

    links = [(db.id, "tcp/3306"), (cache.id, "tcp/6379"), (db.id, "tcp/443")]
    assert filtered_rows() == sorted(links)
    assert filtered_rows("--all") == sorted(
        [*links, (db.id, "tcp/3306"), (db.id, "tcp/443")]
    )  # an intent before each change
    assert filtered_rows("outcome=denied") == [(cache.id, "tcp/6379")]
    assert filtered_rows("reason=no-consent") == [(cache.id, "tcp/6379")]
    assert filtered_rows(f"party={cache.id}") == [(cache.id, "tcp/6379")]
    assert filtered_rows(f"party=*@{HOME}") == filtered_rows(f"party={app.id}@{HOME}") == sorted(links)
    assert filtered_rows(f"party=*@{PEER}") == filtered_rows(f"party={app.id}@{PEER}") == []
    assert filtered_rows(f"party={app.id}", "outcome=applied") == sorted([(db.id, "tcp/3306"), (db.id, "tcp/443")])
    assert filtered_rows("request=chg-1") == [(db.id, "tcp/443")]
    assert filtered_rows("event=event-1") == sorted(links[:2])
    assert filtered_rows(f"link={lab.outcome()['link']}") == [(db.id, "tcp/443")]
    assert filtered_rows("--since", lab.iso(3600)) == []
    assert cli("audit", "reason=no-consent") == 0
    assert f"advice: tag {cache.id}@{HOME} link-accept={app.id}:tcp/6379" in cli.out


def test_the_sweeps_of_an_account_are_found_by_it(lab: Lab, cli: Cli) -> None:
    """And each line says of which account it is."""
    lab.sweep()
    _, records = cli.json("audit", "--all", f"party=*@{PEER}")
    assert [(record["record"], record["account"]) for record in records] == [("summary", PEER)]
    assert cli("audit", "--all") == 0
    assert [f"account {uid}, changed 0" in cli.out for uid in (HOME, PEER)] == [True, True]
    assert "accounts 2, waiting 0" in cli.out


def test_more_than_one_page_of_records_is_read(lab: Lab, cli: Cli) -> None:
    """GetLogs returns at most 100 records per call."""
    app = lab.group()
    peers = [lab.group().id for _ in range(13)]
    instance = lab.instance(app, tags={f"link-peer.{n}": f"{g}:icmp" for n, g in enumerate(peers)})
    for _ in range(8):
        lab.auto_link(lab.event(instance))
    _, records = cli.json("audit", "outcome=denied")
    assert len(records) == 8 * len(peers)


def test_an_unreadable_log_fails_the_command(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, with the error code of the log service; one that follows it ends, too."""
    monkeypatch.setenv("LINK_PEER_AUDIT_LOGSTORE", "nowhere")
    for options in ((), ("--follow",)):
        assert cli("audit", *options) == 1
        assert "LogStoreNotExist" in cli.err


@pytest.mark.parametrize("kind", ["error", "html", "truncated", "reset", "throttle"])
def test_following_continues_after_an_outage_of_the_log(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It polls with backoff, and then also prints the records of the outage, however long it was: each record once,
    until Ctrl-C, which exits with 0."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))

    def outage() -> None:
        lab.fault(service="sls", action="GetLogs", kind=kind, times=3)
        lab.auto_link(lab.event(instance))

    turns = [outage, lambda: lab.cloud.clock.sleep(3600), lambda: None, lambda: None, lambda: None]
    slept = take_turns(lab, monkeypatch, turns)
    code, records = cli.json("audit", "--follow")
    assert (code, [record["event_id"] for record in records]) == (0, ["event-1", "event-2"])
    assert slept == [1, 2, 4, 8, 1, 1]
    assert cli.err.count("next try in") == 3


def test_a_limit_leaves_out_no_new_record(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for the records that are there when following begins."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})

    def deliveries(count: int) -> None:
        for _ in range(count):
            lab.auto_link(lab.event(instance))

    deliveries(3)
    take_turns(lab, monkeypatch, [lambda: deliveries(2), lambda: None])
    code, records = cli.json("audit", "--follow", "--limit", "1")
    assert (code, [record["event_id"] for record in records]) == (0, ["event-3", "event-4", "event-5"])


def test_a_failed_read_of_the_log_is_retried(lab: Lab, cli: Cli) -> None:
    """If the retries fail too, the message has no text of a library."""
    lab.fault(service="sls", action="GetLogs", kind="error", times=2)
    assert cli("audit") == 0
    lab.fault(service="sls", action="GetLogs", kind="reset", times=None)
    assert cli("audit") == 1
    assert cli.err == "the audit log cannot be read now: the connection was closed\n"


def test_each_of_ten_questions_is_one_query(lab: Lab, cli: Cli) -> None:
    """As docs/audit.md and the dashboard have it, over both logstores, with an answer that is known."""
    questions = yaml.safe_load(Path(__file__).with_name("questions.yaml").read_text("utf-8"))
    lab.policy(limits={"removals_per_run": 0})
    app, db, cache, other_group = lab.group(), lab.group("*"), lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.cross_account(lab.request(app, db, "tcp/2", requested_by="ann", until=lab.iso(2 * 86_400)))

    def later(code: object) -> None:
        assert code == 0 or not isinstance(code, int), cli.err
        lab.cloud.clock.sleep(60)

    for _ in range(3):
        later(lab.cross_account(lab.request(app, cache, "tcp/3", request_id="chg-2")))
    later(cli("accept", cache.id, f"{app.id}:tcp/3", "--yes"))
    for action, target in (("link", cache), ("link", db), ("unlink", db)):
        name = "chg-2" if target is cache else "chg-3"
        later(lab.cross_account(lab.request(app, target, "tcp/3", action=action, request_id=name)))
    later(cli("withdraw", cache.id, f"{app.id}:tcp/3", "--yes"))
    later(lab.sweep())
    lab.release(instance)
    lab.instance(db)
    later(lab.sweep())  # holds the removal of tcp/1
    later(lab.cross_account(lab.request(app, other_group, "tcp/4", request_id="chg-3")))
    later(cli("close", other_group.id, "--yes"))
    forged = {"record": "outcome", "outcome": "applied", "function": "sweep", "event_id": "e-1", "api_requests": "R-1"}
    log = LogGroup(
        (LogRecord(int(lab.cloud.clock.now()), 1, {**forged, "from": "sg-x", "to": "sg-y", "link": "f" * 16}),)
    )
    words = {app.id: "app", db.id: "db", cache.id: "cache", other_group.id: "other", "link-peer-requests": "queue"}
    words |= {f"{instance.id}@{HOME}": "instance", f"acs:ram::{HOME}:root": "me"}
    world, answers = lab.cloud.world, {}
    for chart in describe(Names(HOME), "prod", "link").charts:
        if question := chart.get("question"):
            if question == "Which changes had no intent?":
                lab.cloud.sls.put(HOME, world.audit_project, world.audit_logstore, log)
            place = (HOME, world.audit_project, world.audit_logstore, 0, lab.cloud.clock.now() + 1)
            columns = questions[question][0].split() if question in questions else []
            rows = [
                " ".join(filter(None, map(row.get, columns)))
                for row in lab.cloud.sls.search(*place, chart["query"]).logs
            ]
            answers[question] = [
                " ".join(columns),
                *(re.sub("|".join(words), lambda name: words[name[0]], row) for row in rows),
            ]
    assert answers == questions


@pytest.mark.knobs(request_tags=True)
def test_the_evidence_of_a_period_has_everything_with_the_key_of_its_record(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """Opened, closed, denied, refused by a guardrail, consent given and withdrawn, what stood at the end of each month
    and then, and what ActionTrail does not fit; nothing of before or after. The page has each row of the CSV, and the
    CSV's hash."""
    app, db, cache, barred = lab.group(), lab.group("*"), lab.group(), lab.group("*")
    lab.policy(never=[{"from": f"{app.id}@{HOME}", "to": f"{barred.id}@{HOME}"}])
    lab.cloud.clock.advance(86_400 * 3)  # 28 November
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-0"))
    lab.cloud.clock.advance(86_400)
    start = lab.iso(0)
    lab.instance(app), lab.instance(db), lab.instance(cache)
    lab.cross_account(lab.request(app, db, "tcp/2", request_id="chg-1", reason="=1+1<script>"))
    lab.cross_account(lab.request(app, cache, "tcp/3", request_id="chg-2"))
    lab.cross_account(lab.request(app, barred, "tcp/4", request_id="chg-3"))
    assert cli("accept", cache.id, f"{app.id}:tcp/3", "--yes") == 0, cli.err
    lab.auto_link(lab.group_event(cache))  # that of the same call
    lab.cross_account(lab.request(app, cache, "tcp/3", request_id="chg-4"))
    lab.cloud.clock.advance(86_400 * 2)  # December
    assert cli("withdraw", cache.id, f"{app.id}:tcp/3", "--yes") == 0, cli.err
    lab.sweep()
    as_role(lab, HOME, "link-peer-fc", "AuthorizeSecurityGroup", {"SecurityGroupId": db.id, **rule(app)})
    end = lab.iso(60)
    lab.cloud.clock.advance(1200)
    lab.cross_account(lab.request(app, db, "tcp/5", request_id="chg-5"))
    lab.cloud.clock.advance(1200)
    code, [summary] = cli.json("audit", "--from", start, "--to", end, "--evidence", str(tmp_path / "out"))
    assert (code, summary["moments"]) == (1, ["2026-12-01T00:00:00Z", end])
    whole = Path(summary["files"][0]).read_bytes()
    page, rows = Path(summary["files"][1]).read_text("utf-8"), list(csv.DictReader(whole.decode().splitlines()))
    port = {"tcp/1": db, "tcp/2": db, "tcp/3": cache, "tcp/4": barred}
    stood = [("stood", ports) for ports in ("tcp/1", "tcp/2", "tcp/3", "tcp/1", "tcp/2")]
    decided = [
        ("opened", "tcp/2"),
        ("opened", "tcp/3"),
        ("closed", "tcp/3"),
        ("denied", "tcp/3"),
        ("guardrail", "tcp/4"),
    ]
    entry = f"link-accept={app.id}:tcp/3"
    assert [(row["section"], row["ports"] or row["detail"]) for row in rows[:-1]] == [
        *(*decided, ("consented", entry), ("withdrawn", entry)),
        *stood,
    ]
    assert all(row["to"] == port[row["ports"]].id for row in rows if row["ports"])
    assert (rows[0]["claimed_reason"], rows[-1]["reason"]) == ("'=1+1<script>", "no-intent")
    assert (summary["counts"]["opened"], sum(summary["counts"].values())) == (2, len(rows))
    for row in rows[:-1]:  # an auditor's sample
        _, [record] = cli.json("audit", "--from", "7d", f"key={row['key']}")
        assert (record["to"], record["logstore"]) == (row["to"], row["logstore"])
    assert (page.count("<tr><td>20"), "<script" in page) == (len(rows), False)
    assert hashlib.sha256(whole).hexdigest() in page
    alone = tmp_path / "one.csv"
    for since, exit_code in ((start, 1), (lab.iso(-60), 0)):
        assert cli("audit", "--from", since, "--evidence", str(alone)) == exit_code, cli.err
    assert f"exception 0\nwritten: {alone}\n" in cli.out
    assert cli("audit", "--from", "200d", "--to", "100d", "--evidence", str(alone)) == 3
    assert "ActionTrail keeps events for 90 days" in alone.read_text("utf-8")
    (tmp_path / "file").touch()
    assert cli("audit", "--evidence", str(tmp_path / "file")) == 1
    assert "cannot be made" in cli.err


@pytest.mark.knobs(request_tags=True)
def test_a_consent_is_given_once_whichever_record_of_its_call_is_first(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """The event may be delivered before the command has recorded the call with what the tag held before."""
    app, db, path = lab.group(), lab.group("sg-other"), tmp_path / "evidence.csv"

    def delivered() -> None:
        event = lab.group_event(db)
        lab.auto_link({**event, "data": {**event["data"], **lab.cloud.trail.newest(HOME)}})

    lab.meanwhile("TagResources", delivered, after=True)
    assert cli("accept", db.id, f"{app.id}:tcp/1", "--yes") == 0, cli.err
    assert [record["function"] for record in lab.records("observed")] == ["auto_link", "accept"]
    cli("audit", "--from", "1d", "--evidence", str(path))
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [row["detail"] for row in rows if row["section"] == "consented"] == [f"link-accept.2={app.id}:tcp/1"]
