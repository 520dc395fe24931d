"""`link-peer request` posts to the queue; `link-peer audit` reads the decisions."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from link_peer.app import compose
from link_peer.inbound.requests import decode

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, REGION, Lab

LINK = ("request", "link", "--from", "sg-a", "--to", "sg-b")


def test_a_request_is_posted_as_the_function_expects_it(lab: Lab, cli: Cli) -> None:
    """Every option sets its field. Parties are in the home account unless they name another."""
    ends = ["--from", "sg-app", "--to", f"i-db@{PEER}"]
    assert cli("request", "link", *ends) == 2  # a group and an instance cannot be linked
    more = ["--port", "tcp/3306", "--port", "icmp", "--until", "2027-01-01T00:00:00Z", "--expires-in", "30m"]
    claims = ["--request-id", "chg-9", "--reason", "reads the ledger", "--requested-by", "team-orders"]
    assert cli("request", "link", "--from", "sg-app", "--to", f"sg-db@{PEER}", *more, *claims) == 0
    [message] = lab.queued()
    request = decode(json.dumps(message), region=REGION, now=lab.cloud.clock.now())
    assert (str(request.link.source), str(request.link.target)) == (f"sg-app@{HOME}", f"sg-db@{PEER}")
    assert [str(port) for port in request.link.ports] == ["icmp", "tcp/3306"]
    assert message["until"] == "2027-01-01T00:00:00Z"
    assert request.expires_at == int(lab.cloud.clock.now()) + 1800
    claimed = (request.request_id, request.justification, request.requested_by)
    assert claimed == ("chg-9", "reads the ledger", "team-orders")


def test_a_request_for_an_expired_link_is_not_posted(lab: Lab, cli: Cli) -> None:
    """Exit code 1, with advice: it is valid, but cross_account would deny it. No policy decides that."""
    assert cli("request", "link", "--from", "sg-a", "--to", "sg-b", "--until", "2020-01-01T00:00:00Z") == 1
    assert cli.err.startswith("not posted: expired: ")
    assert "advice: " in cli.err
    assert "policy" not in cli.err
    assert lab.queued() == []


def test_a_queue_that_is_down_fails_the_command(lab: Lab, cli: Cli) -> None:
    """Exit code 1, with the queue's name."""
    lab.fault(service="mns", action="SendMessage", kind="html")
    assert cli("request", "unlink", "--from", "sg-a", "--to", "sg-b") == 1
    assert "link-peer-requests" in cli.err


@pytest.mark.usefixtures("terminal")
def test_records_are_filtered_and_printed_with_advice(lab: Lab, cli: Cli) -> None:
    """By outcome, reason, party, link, event, request and time."""
    app, db, cache = lab.group(), lab.group("*"), lab.group()
    lab.started(app, tags={"link-peer": f"{db.id}:tcp/3306 {cache.id}:tcp/6379"})
    lab.cross_account(lab.request(app, db, "tcp/443"))

    def found(*filters: str) -> list[tuple[str, str]]:
        code, records = cli.json("audit", *filters)
        assert code == 0
        return sorted((record["to"], record["ports"]) for record in records)

    everything = [(db.id, "tcp/3306"), (cache.id, "tcp/6379"), (db.id, "tcp/443")]
    assert found() == sorted(everything)
    assert found("--outcome", "denied") == [(cache.id, "tcp/6379")]
    assert found("--reason", "no-consent") == [(cache.id, "tcp/6379")]
    assert found("--party", cache.id) == [(cache.id, "tcp/6379")]
    assert found("--party", app.id, "--outcome", "applied") == sorted([(db.id, "tcp/3306"), (db.id, "tcp/443")])
    assert found("--request", "chg-1") == [(db.id, "tcp/443")]
    assert found("--event", "event-1") == sorted(everything[:2])
    assert found("--link", lab.outcome()["link"]) == [(db.id, "tcp/443")]
    assert found("--since", lab.iso(3600)) == []
    assert cli("audit", "--reason", "no-consent") == 0
    assert f"advice: tag {cache.id}@{HOME} link-accept={app.id}:tcp/6379" in cli.out


def test_intents_are_printed_with_all(lab: Lab, cli: Cli) -> None:
    """The log has an intent before each change; only `--all` prints it."""
    app, db = lab.group(), lab.group("*")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})))
    _, records = cli.json("audit", "--all")
    assert [record["record"] for record in records] == ["intent", "outcome"]
    _, records = cli.json("audit")
    assert [record["record"] for record in records] == ["outcome"]


def test_more_than_one_page_of_records_is_read(lab: Lab, cli: Cli) -> None:
    """GetLogs returns at most 100 records per call."""
    app = lab.group()
    peers = [lab.group().id for _ in range(13)]
    instance = lab.instance(app, tags={f"link-peer.{n}": f"{g}:icmp" for n, g in enumerate(peers)})
    for _ in range(8):
        lab.auto_link(lab.event(instance))
    _, records = cli.json("audit", "--outcome", "denied")
    assert len(records) == 8 * len(peers)


def test_an_unreadable_log_fails_the_command(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, with the error code of the log service; one that follows it ends, too."""
    monkeypatch.setenv("LINK_PEER_AUDIT_LOGSTORE", "nowhere")
    for options in ((), ("--follow",)):
        assert cli("audit", *options) == 1
        assert "LogStoreNotExist" in cli.err


class TurnClock:
    """A command's clock. Each time the command sleeps, the next turn runs; after the last one comes Ctrl-C."""

    def __init__(self, lab: Lab, turns: list[Callable[[], object]]) -> None:
        self._lab = lab
        self._turns = turns
        self.slept: list[float] = []

    def now(self) -> float:
        return self._lab.cloud.clock.now()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self._turns:
            raise KeyboardInterrupt
        self._turns.pop(0)()


def take_turns(lab: Lab, monkeypatch: pytest.MonkeyPatch, turns: list[Callable[[], object]]) -> list[float]:
    """Run these turns while a command sleeps; return the list that will hold how long it slept each time."""
    clock = TurnClock(lab, turns)
    monkeypatch.setattr(compose, "clock_for_functions", lambda: clock)
    return clock.slept


def test_following_prints_each_new_record_once(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until Ctrl-C, which exits with 0."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    turns = [lambda: lab.auto_link(lab.event(instance)), lambda: None, lambda: lab.auto_link(lab.event(instance))]
    take_turns(lab, monkeypatch, turns)
    lab.auto_link(lab.event(instance))
    code, records = cli.json("audit", "--follow")
    assert (code, [record["event_id"] for record in records]) == (0, ["event-1", "event-2", "event-3"])


@pytest.mark.parametrize("kind", ["error", "html", "truncated", "reset", "throttle"])
def test_following_continues_after_an_outage_of_the_log(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It polls with backoff, and then also prints the records of the outage, however long it was."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})

    def outage() -> None:
        lab.fault(service="sls", action="GetLogs", kind=kind, times=3)
        lab.auto_link(lab.event(instance))

    turns = [outage, lambda: lab.cloud.clock.sleep(3600), lambda: None, lambda: None, lambda: None]
    slept = take_turns(lab, monkeypatch, turns)
    code, [record] = cli.json("audit", "--follow")
    assert (code, record["event_id"]) == (0, "event-1")
    assert slept == [1, 2, 4, 8, 1, 1]
    assert cli.err.count("next try in") == 3


def test_a_failed_read_of_the_log_is_retried(lab: Lab, cli: Cli) -> None:
    """If the retries fail too, the message has no text of a library."""
    lab.fault(service="sls", action="GetLogs", kind="error", times=2)
    assert cli("audit") == 0
    lab.fault(service="sls", action="GetLogs", kind="reset", times=None)
    assert cli("audit") == 1
    assert cli.err == "the audit log cannot be read now: the connection was closed\n"


def test_a_wait_without_outcome_ends_with_a_hint(lab: Lab, cli: Cli) -> None:
    """No function runs here: exit code 1, the request's id, and how to find the outcome later."""
    lab.fault(service="sls", action="GetLogs", kind="error", skip=1, times=None)
    assert cli(*LINK, "--request-id", "chg-7", "--wait", "--timeout", "1") == 1
    posted, over = cli.err.splitlines()
    assert posted == "posted to link-peer-requests as chg-7"
    assert over.startswith("chg-7: no outcome in the audit log after 1 seconds: ")
    assert over.endswith("link-peer audit --request chg-7")
    assert len(lab.queued()) == 1
    lab.cloud.faults.clear()
    assert cli(*LINK, "--request-id", "chg-7", "--wait", "--timeout", "1", "--json") == 1
    assert [list(json.loads(line)) for line in cli.err.splitlines()] == [["request_id", "posted"], ["error"]]


def test_waiting_continues_after_an_outage_of_the_log(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome is printed once the log can be read."""
    app, db = lab.group(), lab.group("*")
    lab.fault(service="sls", action="GetLogs", kind="error", skip=1, times=3)
    take_turns(lab, monkeypatch, [lambda: lab.cross_account(*lab.queued()), lambda: None, lambda: None])
    ends = ["--from", app.id, "--to", db.id, "--port", "tcp/3306"]
    code, [record] = cli.json("request", "link", *ends, "--wait")
    assert (code, record["outcome"]) == (0, "applied")


def test_the_posted_request_is_printed_as_json(lab: Lab, cli: Cli) -> None:
    """As an object, not as a string."""
    code, [printed] = cli.json(*LINK)
    assert (code, [printed["posted"]]) == (0, lab.queued())


def test_errors_are_json_with_json(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, apart from results: for an unknown option, an invalid value, and an error of the cloud."""
    for options, code in ((["--bad"], 2), (["--since", "yesterday"], 2), ([], 1)):
        monkeypatch.setenv("LINK_PEER_AUDIT_LOGSTORE", "nowhere")
        assert cli("audit", "--json", *options) == code
        assert (cli.out, list(json.loads(cli.err))) == ("", ["error"])


def test_records_are_filtered_by_the_account_of_a_party(lab: Lab, cli: Cli) -> None:
    """`sg-…@<uid>` is one party on either side; `*@<uid>` is any party of an account."""
    ours, theirs = lab.group(f"*@{PEER}"), lab.group(f"*@{HOME}", account=PEER)
    lab.cross_account(lab.request(ours, theirs))
    for party, count in (
        (f"{ours.id}@{HOME}", 1),
        (f"{theirs.id}@{PEER}", 1),
        (f"{ours.id}@{PEER}", 0),
        (f"*@{PEER}", 1),
        ("*@1000000000000009", 0),
    ):
        assert len(cli.json("audit", "--party", party)[1]) == count, party
