"""`link-peer request` judges, posts to the queue, and waits for the outcome."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
from link_peer.inbound.requests import decode
from link_peer_cli.commands import request

from tests.functional.command import Cli, take_turns
from tests.functional.lab import HOME, PEER, REGION, Lab

LINK = ("request", "link", "--from", "sg-a", "--to", "sg-b")


def test_a_request_is_posted_as_the_function_expects_it(lab: Lab, cli: Cli) -> None:
    """Every option sets its field. Parties are in the home account unless they name another."""
    options = ["--port", "tcp/3306", "--port", "icmp", "--until", "2027-01-01T00:00:00Z", "--expires-in", "30m"]
    claims = ["--request-id", "chg-9", "--reason", "reads the ledger", "--requested-by", "team-orders"]
    ends = ["--from", "sg-app", "--to", f"sg-db@{PEER}"]
    code, [printed] = cli.json("request", "link", *ends, *options, *claims)
    [message] = lab.queued()
    assert (code, printed["posted"]) == (0, message)
    posted = decode(json.dumps(message), region=REGION, now=lab.cloud.clock.now())
    assert (str(posted.link.source), str(posted.link.target)) == (f"sg-app@{HOME}", f"sg-db@{PEER}")
    assert [str(port) for port in posted.link.ports] == ["icmp", "tcp/3306"]
    assert message["until"] == "2027-01-01T00:00:00Z"
    assert posted.expires_at == int(lab.cloud.clock.now()) + 1800
    claimed = (posted.request_id, posted.reason, posted.requested_by)
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


def test_a_wait_without_outcome_ends_with_a_hint(lab: Lab, cli: Cli) -> None:
    """No function runs here: exit code 1, the request's id, and how to find the outcome later."""
    lab.fault(service="sls", action="GetLogs", kind="error", skip=2, times=None)
    assert cli(*LINK, "--request-id", "chg-7", "--wait", "--timeout", "1") == 1
    posted, over = cli.err.splitlines()
    assert posted == "posted to link-peer-requests as chg-7"
    assert over.startswith("chg-7: no outcome in the audit log after 1 seconds: ")
    assert over.endswith("link-peer audit request=chg-7")
    assert len(lab.queued()) == 1
    lab.cloud.faults.clear()
    assert cli(*LINK, "--request-id", "chg-7", "--wait", "--timeout", "1", "--json") == 1
    assert [list(json.loads(line)) for line in cli.err.splitlines()] == [["request_id", "posted", "undo"], ["error"]]


def test_waiting_continues_after_an_outage_of_the_log(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome is printed once the log can be read. A second request with the same id waits for its own."""
    app, db = lab.group(), lab.group("*")
    lab.fault(service="sls", action="GetLogs", kind="error", skip=2, times=3)
    take_turns(lab, monkeypatch, [lambda: lab.cross_account(*lab.queued()), lambda: None, lambda: None])
    command = ["--from", app.id, "--to", db.id, "--port", "tcp/3306", "--request-id", "chg-1", "--wait"]
    code, [record] = cli.json("request", "link", *command)
    assert (code, record["outcome"]) == (0, "applied")
    take_turns(lab, monkeypatch, [lambda: lab.cross_account(lab.queued()[-1])])
    code, [record] = cli.json("request", "unlink", *command)
    assert (code, record["outcome"]) == (0, "removed")


# what is judged before it is posted: by the policy file always, and by everything with `--dry-run`


STRANGER = "1000000000000009"
ALLOWED = {"from": f"*@{HOME}", "to": f"*@{HOME}", "ports": ["tcp/443"]}
HOPELESS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "an account that the policy does not list": ({}, ["--to", f"sg-b@{STRANGER}"], "unknown-account"),
    "a port that is never opened": ({"deny": {"ports": ["tcp/22"]}}, ["--port", "tcp/20-30"], "not-allowed"),
    "too many ports": ({"limits": {"max_ports": 1}}, ["--port", "tcp/1", "--port", "tcp/2"], "not-allowed"),
    "everything is paused": ({"paused": True}, ["--port", "tcp/1"], "paused"),
    "an allow list without the ports": ({"accept_tags": False, "allow": [ALLOWED]}, ["--port", "tcp/1"], "no-consent"),
}
"""The policy, the options of the request, and why it is denied."""


@pytest.fixture(name="pair")
def _pair(lab: Lab) -> list[str]:
    """The options that name two groups, each of which accepts everyone."""
    return ["--from", lab.group("*").id, "--to", lab.group("*").id]


def link(pair: list[str], options: list[str]) -> list[str]:
    """A request for the pair; `--to` may be another one."""
    return ["request", "link", *(pair[:2] if "--to" in options else pair), *options]


@pytest.mark.parametrize("case", HOPELESS)
def test_what_the_policy_alone_denies_is_not_posted(
    lab: Lab, cli: Cli, pair: list[str], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Exit code 1, with the reason and the advice, and that the policy file decides. No ECS is asked. If it were
    posted, the function would deny it in the same words."""
    changes, options, reason = HOPELESS[case]
    lab.policy(**changes)
    assert cli(*link(pair, options)) == 1
    assert (lab.queued(), lab.cloud.faults.count("ecs")) == ([], 0)
    assert cli.err.startswith(f"not posted: {reason}: ")
    assert "advice: " in cli.err
    assert f"The policy file {lab.policy_path} decides this" in cli.err
    code, [document] = cli.json(*link(pair, options))
    assert (code, document["posted"], document["outcome"], document["reason"]) == (1, None, "denied", reason)
    assert document["policy"] == str(lab.policy_path)
    monkeypatch.setattr(request, "policy_denial", lambda *_: None)
    assert cli(*link(pair, options)) == 0
    lab.cross_account(*lab.queued())
    record = lab.outcome()
    assert [record[name] for name in ("outcome", "reason", "detail", "advice")] == [
        document[name] for name in ("outcome", "reason", "detail", "advice")
    ]


@pytest.mark.parametrize(
    ("action", "policy", "posted"),
    [
        ("link", {}, True),
        ("link", {"limits": {"max_days": 7}}, False),
        ("unlink", {"paused": "opening", "deny": {"ports": ["tcp/1"]}, "limits": {"max_days": 7}}, True),
        ("unlink", {"accept_tags": False}, True),
        ("sync", {"paused": "opening"}, True),
        ("unlink", {"paused": True}, False),
        ("sync", {"paused": True}, False),
    ],
)
def test_what_the_functions_may_decide_is_posted(
    lab: Lab, cli: Cli, action: str, policy: dict[str, Any], posted: bool
) -> None:
    """A missing consent or group is theirs to see; closing needs no consent, and goes on while opening is paused."""
    lab.policy(**policy)
    assert cli("request", action, "--from", "sg-nowhere", "--to", f"sg-none@{PEER}") == int(not posted)
    assert len(lab.queued()) == int(posted)


def test_a_refusal_says_that_the_functions_have_another_policy(lab: Lab, cli: Cli, pair: list[str]) -> None:
    """Their package has it, whatever the last sweep recorded."""
    lab.publish()
    lab.policy(paused=True)
    assert cli("request", "link", *pair) == 1
    assert "the functions have another policy" in cli.err
    assert "Take the deployed file" in cli.err
    assert "the functions" not in cli.out
    code, [answer] = cli.json("request", "link", *pair)
    assert (code, "deployed is" in answer["warning"]) == (1, True)


# --dry-run


def test_a_dry_run_shows_the_rules_and_posts_nothing(lab: Lab, cli: Cli, pair: list[str]) -> None:
    """The exit code is that of the outcome."""
    assert cli("request", "link", *pair, "--port", "tcp/3306", "--dry-run") == 0
    assert f"+ tcp/3306 from {pair[1]}@{HOME}" in cli.out
    assert "Rules: 1 to add, 0 to remove." in cli.out
    code, [answer] = cli.json("request", "link", *pair, "--port", "tcp/3306", "--request-id", "chg-9", "--dry-run")
    assert (code, [(decision["request_id"], decision["outcome"]) for decision in answer["decisions"]]) == (
        0,
        [("chg-9", "applied")],
    )
    assert (lab.queued(), lab.changes(), lab.records()) == ([], 0, [])


@pytest.mark.knobs(rules_per_group=200)
@pytest.mark.parametrize(("rules", "warned"), [(198, False), (199, True)])
def test_a_dry_run_warns_of_what_one_of_two_documents_refuses(
    lab: Lab, cli: Cli, pair: list[str], rules: int, warned: bool
) -> None:
    """With both numbers; so does the plan of an instance. The cloud decides when the rules are written, and here it
    refuses."""
    db = lab.cloud.ecs.account(HOME).groups[pair[-1].partition("@")[0]]
    lab.crowded(db, rules)
    ask = ["request", "link", *pair, "--port", "tcp/1", "--port", "tcp/2"]
    _, [document] = cli.json(*ask, "--dry-run")
    doubt = "201 rules: one document allows 200 a group, another 1000 in all groups of an instance"
    assert document["notes"] == ([f"{db.id}@{HOME} would have {doubt}"] if warned else [])
    assert cli(*ask, "--dry-run") == 0
    assert (doubt in cli.out) is warned


def test_a_dry_run_shows_what_the_policy_denies(lab: Lab, cli: Cli, pair: list[str]) -> None:
    """Also where it would not be posted, and whether the functions have another policy."""
    lab.publish()
    lab.policy(deny={"ports": ["tcp/22"]})
    assert cli("request", "link", *pair, "--port", "tcp/22", "--dry-run") == 1
    assert "the policy never opens" in cli.out
    assert "the functions have another policy" in cli.err
    _, [answer] = cli.json("request", "link", *pair, "--port", "tcp/22", "--dry-run")
    assert "deployed is" in answer["warning"]


def test_a_dry_run_is_judged_on_the_queue_that_it_would_be_posted_to(lab: Lab, cli: Cli) -> None:
    """An account with a queue of its own speaks through it alone."""
    lab.policy_account(PEER, queue="link-peer-requests-b")
    ours, theirs = lab.pair()
    ends = ["--from", f"{theirs.id}@{PEER}", "--to", ours.id]
    code, [answer] = cli.json("request", "link", *ends, "--dry-run")
    assert (code, [decision["queue"] for decision in answer["decisions"]]) == (0, ["link-peer-requests-b"])


@pytest.mark.knobs(request_tags=True)
def test_a_dry_run_of_an_unlink_shows_the_rules_that_go(lab: Lab, cli: Cli, pair: list[str]) -> None:
    """By a later request."""
    assert cli("request", "link", *pair, "--port", "tcp/1") == 0
    lab.cross_account(*lab.queued())
    assert cli("request", "unlink", *pair, "--dry-run") == 0
    assert f"- tcp/1 from {pair[1]}@{HOME}" in cli.out
    assert (lab.queued(), lab.changes()) == ([], 2)


# what comes next


@pytest.mark.usefixtures("terminal")
def test_the_outcome_is_told_in_names(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, of the ends that have one; commands have ids, and so have programs. A hostile name stays an id."""
    app, db = lab.group(name="app"), lab.group("*", name="[red]\x1b[2Jdb")
    command = ["request", "link", "--from", app.id, "--to", db.id, "--port", "tcp/3306", "--wait"]
    take_turns(lab, monkeypatch, [lambda: lab.cross_account(*lab.queued()), lambda: None])
    assert cli(*command) == 0, cli.err
    [row] = [line for line in cli.out.splitlines() if "applied" in line]
    assert row.split()[1:3] == ["app@a@aliyun.com", f"{db.id}@a@aliyun.com"]
    assert f"link-peer verify --from {app.id}@{HOME}" in cli.out


@pytest.mark.parametrize("blocked", [False, True])
def test_an_opened_link_is_followed_by_the_command_that_tests_it(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, blocked: bool
) -> None:
    """For packets that do not pass: by the command that says why."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app)
    lab.instance(db)
    if blocked:
        drop = {"IpProtocol": "TCP", "PortRange": "3306/3306", "SourceCidrIp": "0.0.0.0/0", "Policy": "drop"}
        lab.authorize(db, **drop, Priority="1")
    take_turns(lab, monkeypatch, [lambda: lab.cross_account(*lab.queued()), lambda: None])
    ends = ["--from", app.id, "--to", db.id]
    assert cli("request", "link", *ends, "--port", "tcp/3306", "--wait") == 0
    [then] = re.findall(r"(?:test it with a packet|see what stops its packets): (.*)", cli.out)
    words = shlex.split(then)
    if blocked:
        assert words == ["link-peer", "explain", f"{app.id}@{HOME}", f"{db.id}@{HOME}", "tcp/3306"]
        code, [document] = cli.json(*words[1:])
        assert (code, document["state"]) == (1, "blocked")
    else:
        ends = ["--from", f"{app.id}@{HOME}", "--to", f"{db.id}@{HOME}"]
        assert words == ["link-peer", "verify", *ends, "--port", "tcp/3306"]


def test_a_denied_request_is_followed_by_no_test(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to test."""
    app, db = lab.group(), lab.group()
    take_turns(lab, monkeypatch, [lambda: lab.cross_account(*lab.queued()), lambda: None])
    assert cli("request", "link", "--from", app.id, "--to", db.id, "--port", "udp/53", "--wait") == 1
    assert "verify" not in cli.out
    assert "link-peer explain" not in cli.out
