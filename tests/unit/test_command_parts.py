"""What parts of commands do with an answer or a value that the local cloud never gives."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from link_peer.domain.errors import Transient
from link_peer.domain.model import Claim, Group, Link, Party, Port
from link_peer.domain.platform_limits import GROUP_RULES, GROUP_SOURCES
from link_peer.domain.request import Request, SweepAccount
from link_peer.domain.snapshot import Address, Listing, Snapshot
from link_peer.domain.tags import iso, parse_instant
from link_peer.views.reach import Scene
from link_peer_cli.access.environment import Environment
from link_peer_cli.access.roles import PersonsAccounts
from link_peer_cli.answers.links import LinkAnswer
from link_peer_cli.audit.evidence import month_ends
from link_peer_cli.audit.log import read_error
from link_peer_cli.audit.timeline import _concerns, _groups, _without_copies
from link_peer_cli.audit.undo import requests_again
from link_peer_cli.checks import functions, quotas
from link_peer_cli.checks.finding import DIFFERS, OK
from link_peer_cli.checks.seen import CloudSeen
from link_peer_cli.deployed.functions import DeployedTrigger
from link_peer_cli.inventory import shown
from link_peer_cli.inventory.reading import View
from link_peer_cli.review import claims, edits
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.review.delivery import Recorder
from link_peer_cli.review.edits import GroupChange, RuleEdit, with_instances
from link_peer_cli.review.planned import _doubts
from link_peer_cli.review.plans import ShownPlan, closed_links, print_closed, print_differences, sections, total
from link_peer_cli.review.recorded_advice import AdviceJudge, _wish
from link_peer_cli.review.snapshots import load, save
from link_peer_cli.review.writes import Difference, Write
from link_peer_cli.ui.console import console
from link_peer_deploy.manifest import Function, Trigger
from pytest_mock import MockerFixture

from tests.unit.fakes import FakeCloud, FakeEcs
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A
from tests.unit.snapshots import group, instance, key, ours, view

PORT = Port("tcp", 1, 1)
PEER_GROUP = Party(PEER, "sg-peer")


# a dry run


def test_a_dry_run_keeps_the_messages_that_would_be_delivered_at_once() -> None:
    """One with a delay waits for something outside, and the sweep of an account would go on with the account's other
    links."""
    request = Request("chg-1", "link", REGION, Link(APP, DB, (PORT,)), NOW + 600)
    kept_messages = Recorder()
    kept_messages.post(request)
    kept_messages.post(request, delay=1)
    kept_messages.post(SweepAccount(REGION, HOME, NOW))
    kept_messages.post(SweepAccount(REGION, HOME, NOW), delay=1)
    assert kept_messages.posted == [request]


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_a_command_closed_is_printed_without_the_way_to_open_it_again(
    capsys: pytest.CaptureFixture[str], dry_run: bool
) -> None:
    """Whoever closes it does not want it back."""
    record = {"record": "outcome", "outcome": "removed", "action": "unlink", "from": "sg-app", "to": "sg-db"}
    record |= {"link": "0" * 16, "ports": "tcp/1"}
    print_closed([{**record, "advice": "post it again: link-peer request link"}], [], [], {}, dry_run=dry_run)
    output = capsys.readouterr().out
    assert "sg-app" in output
    assert "advice" not in output
    assert "request link" not in output


@pytest.mark.parametrize(
    ("target", "ports", "count"),
    [("i-1", "tcp/1", 1), ("i-1", "tcp/1+tcp/2", 1), ("i-1", "tcp/2", 2), ("i-2", "tcp/1", 2), ("sg-1", "tcp/1", 2)],
)
def test_what_lets_a_group_out_to_an_instance_is_an_end_of_the_links_to_it(target: str, ports: str, count: int) -> None:
    """It is no link of its own beside a link to that instance on one of its ports."""
    link = {"outcome": "removed", "from": "i-0", "to": "i-1", "ports": "tcp/1", "link": "0" * 16}
    outlet = {**link, "from": "sg-0", "to": target, "ports": ports, "link": "1" * 16}
    assert len(closed_links([outlet, link, outlet])) == count
    assert closed_links([outlet]) == [outlet]


def test_differences_from_what_was_reviewed_are_below_their_group(capsys: pytest.CaptureFixture[str]) -> None:
    """Each group once."""
    writes = [Write("tag", HOME, group, tags=(tag,)) for group, tag in (("sg-1", "a"), ("sg-1", "b"), ("sg-2", "c"))]
    print_differences(console(), [Difference("+", write) for write in writes])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("sg-")] == [f"sg-1@{HOME}", f"sg-2@{HOME}"]
    assert [lines.index(f"sg-{number}@{HOME}") for number in (1, 2)] == [1, 4]


def test_a_group_that_a_plan_may_overfill_is_named() -> None:
    """By the rules that name a group, and by all: which of two documents holds is not known."""
    real = FakeEcs(
        [Group(DB, "vpc-1")], rules=[ours(key(DB, Party(HOME, f"sg-{number}"))) for number in range(GROUP_SOURCES.low)]
    )
    cloud = WhatIf(cast(PersonsAccounts, FakeCloud(real)), REGION)
    assert _doubts(cloud) == []
    cloud.ecs(HOME).authorize(DB.id, [(key(DB, APP), "")])
    [doubt] = _doubts(cloud)
    assert doubt.startswith(f"{DB} would have {GROUP_SOURCES.low + 1} rules with a group as source: ")


def test_a_saved_snapshot_is_what_was_read(tmp_path: Path) -> None:
    """All of it but the numbers of members that were read alone. Why an account was not read is then in words."""
    snapshot = Snapshot(
        instances={A: instance(A, APP)},
        groups={APP: Group(APP, "vpc-1")},
        rules={DB: (ours(key(DB, APP)),)},
        requested=frozenset({CACHE}),
        complete_groups=frozenset({APP}),
        whole_accounts=frozenset({HOME}),
        listings={HOME: Listing(ids=frozenset({"i-a"}))},
        live_accounts=frozenset({HOME, PEER}),
        inner_access={APP: True},
        taken_addresses={Address(HOME, "vpc-1", "10.0.0.1"): True},
        failed_accounts={PEER: "no answer"},
    )
    path = str(tmp_path / "snapshot.json")
    save(snapshot, path)
    assert load(path) == snapshot


EDITS = [RuleEdit(sign, key(DB, APP, f"tcp/{place}")) for place, sign in enumerate("++~-", 1)]
CHANGES = [
    GroupChange(DB, tuple(EDITS), instances=(instance(A, DB),)),
    GroupChange(CACHE, (RuleEdit("+", key(CACHE, APP, "tcp/1")),), instances=None),
    GroupChange(APP, (), tags=(("+", "link-managed"),)),
]
ATTEMPT = {"record": "attempt"}
DENIED = {"record": "outcome", "outcome": "denied"}


@pytest.mark.parametrize(
    ("groups", "records", "sentence"),
    [
        (
            CHANGES,
            [ATTEMPT, DENIED, DENIED],
            "Rules: 3 to add, 1 to change, 1 to remove. Affected: 1 instance in 2 groups, and more: those of 1 group could not be read. "
            "Links: 2 denied, 1 undecided.",
        ),
        (CHANGES[2:], [], "Rules: none. Tags: of 1 group."),
        ([GroupChange(DB, (EDITS[0],), instances=())], [], "Rules: 1 to add, 0 to remove. Affected: 0 instances in 1 group."),
        ([], [], "Nothing would change."),
        ([], [DENIED], "Nothing would change. Links: 1 denied."),
        ([], [ATTEMPT], "Links: 1 undecided."),  # it may change something
    ],
)  # fmt: skip
def test_the_last_line_of_a_plan_counts_what_it_says(
    groups: list[GroupChange], records: list[dict[str, str]], sentence: str
) -> None:
    assert total(ShownPlan(groups, records, records)) == sentence


def test_what_is_no_link_is_listed_by_the_function_that_says_so() -> None:
    """In the table of a plan."""
    records = [
        {**DENIED, "from": "sg-a", "to": "sg-b", "ports": "tcp/1", "reason": "locked"},
        {**DENIED, "function": "sweep", "reason": "paused"},
    ]
    _, links = sections(ShownPlan([], records, records))
    assert [[cell.strip("` ") for cell in entry.split("|")[1:4]] for entry in links.entries] == [
        ["sg-a → sg-b tcp/1", "denied", "locked"],
        ["sweep", "denied", "paused"],
    ]


def test_the_table_of_a_plan_begins_with_what_opens_most() -> None:
    """To the most instances, which those that cannot be read may be, then on the most ports; what closes comes last."""
    wide = RuleEdit("+", key(DB, APP, "tcp/8-9"))
    changes = [GroupChange(DB, (*EDITS[3:], EDITS[0], wide), instances=(instance(A, DB),)), *CHANGES[1:]]
    changes.append(
        GroupChange(PEER_GROUP, (RuleEdit("+", key(PEER_GROUP, APP)),), instances=(instance(A, PEER_GROUP),))
    )
    rules, _ = sections(ShownPlan(changes, [], []))
    cells = [entry.split("|") for entry in rules.entries]
    shown_rules = [(sign.strip("` "), rule.split(" from ")[0].strip("` ")) for _, sign, rule, *_ in cells]
    assert shown_rules == [
        ("+", "tcp/1"),
        ("+", "all"),
        ("+", "tcp/8-9"),
        ("+", "tcp/1"),
        ("-", "tcp/4"),
        ("+", "tag link-managed"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "concerns"),
    [
        ({"link-accept": "sg-app"}, {"link-accept": "sg-app,sg-other"}, False),
        ({"link-accept": "sg-app,sg-other"}, {"link-accept": "sg-other"}, True),
        ({}, {"link-accept.2": "sg-app:tcp/1"}, True),
        ({}, {"link-accept": "*"}, True),
        ({}, {"link-egress": "sg-app"}, True),
        ({"link-accept": "sg-other"}, {"link-accept": None}, False),
        (None, {"link-accept": None}, True),  # nobody knows what it held
        ({}, {"link-lock": "incident 7"}, True),
        ({}, {"link-refuse": "sg-other"}, True),
        ({}, {"owner": "orders"}, False),
    ],
)
def test_a_timeline_has_the_changes_that_may_concern_its_link(
    before: dict[str, str] | None, after: dict[str, str | None], concerns: bool
) -> None:
    """Those of entries that name one of its parties, and all that locks or refuses."""
    record = {"to": DB.id, "to_account": HOME, "event_tags": json.dumps(after)}
    record |= {} if before is None else {"old_tags": json.dumps(before)}
    env = cast(Environment, SimpleNamespace(policy=POLICY))
    assert _concerns(env, record, [APP, DB]) is concerns


def test_a_timeline_has_one_record_of_a_call_that_a_command_and_an_event_tell() -> None:
    """That of the command, which knows the old values. Calls that no event names are told apart by their records."""
    event = {"event_request": "R-1", "to": DB.id, "key": "1"}
    command = {**event, "key": "2", "old_tags": "{}"}
    calls = [{**event, "to": APP.id}, *({"to": DB.id, "key": key} for key in "34")]
    assert _without_copies([event, command, *calls]) == [command, *calls]


@pytest.mark.parametrize(
    ("last_used", "use", "text"),
    [
        ("2026-12-01T00:00:00Z", "used", "2026-12-01T00:00:00Z"),
        ("", "unused", "unused"),
        ("", "", ""),
        (None, None, ""),
    ],
)
def test_a_link_is_shown_with_its_last_use_or_the_word_for_it(
    last_used: str | None, use: str | None, text: str
) -> None:
    """And with none where nothing is known of it."""
    assert shown.last_used(cast(LinkAnswer, SimpleNamespace(last_used=last_used, use=use)), shown.EXACT) == text


@pytest.mark.parametrize(
    ("since", "until", "ends"),
    [
        ("2026-11-25", "2026-11-30", ["2026-11-30"]),
        ("2026-11-25", "2026-12-01", ["2026-12-01"]),
        ("2026-11-01", "2027-01-02", ["2026-12-01", "2027-01-01", "2027-01-02"]),
        ("2026-01-31", "2026-03-01", ["2026-02-01", "2026-03-01"]),
    ],
)
def test_the_evidence_lists_links_at_the_ends_of_months(since: str, until: str, ends: list[str]) -> None:
    """And at its own end, once."""
    instants = [parse_instant(f"{day}T00:00:00Z") for day in (since, until)]
    assert [iso(moment)[:10] for moment in month_ends(*instants)] == ends


@pytest.mark.parametrize(
    ("sources", "rules", "states"),
    [
        (GROUP_SOURCES.low - 5, 0, []),
        (GROUP_SOURCES.low - 4, 0, ["warning"]),
        (GROUP_SOURCES.high, 0, ["missing"]),
        (0, GROUP_RULES.low - 10, []),
        (0, GROUP_RULES.low - 9, ["warning"]),
        (0, 901, ["warning", "warning"]),  # of the group, and of the instance
        (0, GROUP_RULES.high, ["warning", "missing"]),
    ],
)
def test_a_group_is_called_full_before_it_is(sources: int, rules: int, states: list[str]) -> None:
    """By the rules that name groups, of which four more have room, and by all, by the lower of two documents; those of
    all groups of an instance by the other one."""
    naming = tuple(ours(key(DB, Party(HOME, f"sg-{number}"))) for number in range(sources))
    db = Group(DB, "vpc-1", rule_count=rules, group_rules=sources)
    snapshot = Snapshot(groups={DB: db}, instances={A: instance(A, DB)}, rules={DB: naming})
    findings = quotas.check(CloudSeen(POLICY, Scene(snapshot), REGION, NOW, ()))
    assert [finding.state for finding in findings if finding.subject.startswith("quota of")] == states


# undo


@pytest.mark.parametrize(("until", "count"), [(None, 1), (NOW + 1, 1), (NOW, 0)])
def test_a_request_that_has_ended_is_not_posted_again(until: int | None, count: int) -> None:
    """It ends at that instant."""
    assert len(requests_again([(Link(APP, DB, (PORT,)), Claim("chg-1", until))], NOW)) == count


# `doctor`


@pytest.mark.parametrize(
    ("source", "state"),
    [
        ({"eventSourceParameters": {"sourceMNSParameters": {"QueueName": "link-peer"}}}, OK),
        ({"eventSourceParameters": {"sourceMNSParameters": {"QueueName": "other"}}}, DIFFERS),
        ({"eventSourceParameters": {"sourceMNSParameters": None}}, DIFFERS),
        ({"eventSourceParameters": None}, DIFFERS),
        ({}, DIFFERS),
    ],
)
def test_a_trigger_without_a_queue_differs_from_one_with_it(source: dict[str, Any], state: str) -> None:
    """The platform may answer null where nothing is set."""
    config = {"eventSourceConfig": {"eventSourceParameters": {"sourceMNSParameters": {"QueueName": "link-peer"}}}}
    shipped = Trigger("queue", "eventbridge", config)
    deployed = DeployedTrigger("queue", "eventbridge", "LATEST", {"eventSourceConfig": source})
    function = Function("link-peer-cross-account", "cross_account.handler")
    assert functions._trigger(function, shipped, deployed).state == state


# the audit log


def test_an_old_denial_is_of_the_entry_that_it_names() -> None:
    """Not of another one of the instance's tag which cannot be read."""
    asker = instance(A, APP, link_peer="sg-db:tcp/1 no:thing")
    cloud_view = SimpleNamespace(scene=Scene(view([group(APP), group(DB)], [asker])), policy=POLICY)
    for target, ports, is_readable in ((DB.id, "tcp/1", True), ("no:thing", "", False)):
        record = {"from": A.id, "from_account": HOME, "to": target, "to_account": HOME, "ports": ports}
        wish = _wish(cast(View, cloud_view), record, A, NOW)
        assert wish is not None
        assert (wish.link.target.id, wish.raw) == ((DB.id, "") if is_readable else ("", target))


def test_the_groups_of_a_link_are_its_ends_and_those_that_its_rules_are_on() -> None:
    """Of instances, the latter alone."""
    rule = {"account": HOME, "group": CACHE.id, "source": str(APP), "dest": "", "protocol": "tcp", "ports": "1/1"}
    record = {"from": APP.id, "from_account": HOME, "to": A.id, "to_account": HOME}
    assert _groups([record, {**record, "rules": json.dumps([rule])}]) == {APP, CACHE}


def test_advice_that_is_not_judged_again_is_no_command() -> None:
    """Of a record that was not judged before, where nothing is judged now. One without advice is as it was."""
    records = [{"advice": "ask: link-peer request link", "time": "2026-11-25T00:00:00Z"}, {"record": "outcome"}]
    [record, plain_record] = AdviceJudge(cast(Environment, SimpleNamespace())).judged(records, again=False)
    assert (
        "not judged again, since only the advice of the newest 20 is: ask (link-peer request link)" in record["advice"]
    )
    assert plain_record == records[1]


@pytest.mark.parametrize(
    ("status", "code", "message", "text"),
    [
        ("500", "InternalServerError", "try again", "InternalServerError"),
        ("", "LogRequestError", "Failed to resolve 'logs.example.com'", "its name cannot be resolved (DNS)"),
        ("", "LogRequestError", "closed", "no response"),
        ("429", "Throttled", "slow down", "Throttled"),
        ("403", "ReadQuotaExceed", "slow down", "ReadQuotaExceed"),
        ("403", "Unauthorized", "no", ""),
        ("400", "ParameterInvalid", "no", ""),
        ("499", "ParameterInvalid", "no", ""),
    ],
)
def test_an_error_of_the_log_service_is_for_good_or_says_what_did_not_answer(
    status: str, code: str, message: str, text: str
) -> None:
    """A 4xx is for good, but for a rate limit."""
    error = LogError(status, code, message)
    trouble = read_error(error)
    assert isinstance(trouble, Transient) is bool(text)
    assert str(trouble) == (
        f"the audit log cannot be read now: {text}" if text else f"the audit log cannot be read: {message}"
    )


class LogError(Exception):
    """An error of the log service's SDK."""

    def __init__(self, status: str, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def get_resp_status(self) -> str:
        return self.status

    def get_error_code(self) -> str:
        return self.code

    def get_request_id(self) -> str:
        return ""


def test_the_members_of_a_group_whose_rules_stay_are_not_read(mocker: MockerFixture) -> None:
    fetch = mocker.patch.object(edits, "open_fetch").return_value
    fetch.store.snapshot.return_value = view([group(APP), group(DB)], [instance(A, DB)])
    changes = [GroupChange(DB, (RuleEdit("+", key(DB, APP)),)), GroupChange(APP, ())]
    assert [len(change.instances or ()) for change in with_instances(mocker.Mock(), changes)] == [1, 0]
    fetch.members.assert_called_once_with({DB})


def test_what_stands_is_read_for_records_that_depend_on_it(mocker: MockerFixture) -> None:
    """At their ends; for others nothing is."""
    mocker.patch.object(claims, "load_environment")
    mocker.patch.object(claims, "depends_on_standing", side_effect=lambda record: record["from"] == "sg-app")
    undo, between = mocker.patch.object(claims, "undo"), mocker.patch.object(claims, "claims_between")
    records = [{"from_account": HOME, "from": name, "to_account": HOME, "to": "sg-db"} for name in ("sg-app", "sg-x")]
    claims.undo_now(mocker.Mock(), records)
    assert between.call_args.args[1] == {APP, DB}
    assert undo.call_args.args[3] is between.return_value
    claims.undo_now(mocker.Mock(), records[1:])
    assert (between.call_count, undo.call_args.args[3]) == (1, [])
