"""What the checks of `doctor` say of a cloud that was read in part."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from link_peer.domain.model import Link, Party, Port
from link_peer.domain.policy import Allow, GroupSet, Never, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Grantee, iso
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.views.reach import Scene
from link_peer.views.standing import Standing
from link_peer_cli.access.environment import Environment
from link_peer_cli.checks import accounts, blocked, quotas, running
from link_peer_cli.checks.consents import dead
from link_peer_cli.checks.finding import OK, WARNING, few
from link_peer_cli.checks.runs import Runs
from link_peer_cli.checks.seen import CloudSeen, is_whole
from link_peer_cli.consent.prefixes import prefixes_of
from link_peer_cli.review import live_tests
from link_peer_cli.review.cloud import WhatIf
from pytest_mock import MockerFixture

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, ours, policy, view

PORT = Port("tcp", 1, 1)
PROD = {"env": "prod", "tier": "db"}
IN_PROD, ANY = Grantee(HOME, f"{SET}prod"), Grantee(HOME, "*")


def with_prod(**entries: Any) -> Policy:
    """The policy with the set `prod` of home."""
    return policy(sets={"prod": GroupSet(HOME, PROD)}, **entries)


@pytest.mark.parametrize(
    ("tags", "gaps", "reports"),
    [
        (PROD, {}, 1),
        ({}, {}, 1),  # a group without the keys counts as in the set
        ({"env": "dev"}, {}, 0),
        (None, {}, 0),  # not read: nobody knows
        (None, {"refused_accounts": {HOME: "no"}}, 1),  # it may be in any group
    ],
)
def test_a_member_is_barred_where_that_is_known(
    tags: dict[str, str] | None, gaps: dict[str, Any], reports: int
) -> None:
    """By another group of its own, which the policy's `never` names by a set."""
    groups = [group(APP, tags={"env": "dev"}), group(DB, tags={"env": "dev"})]
    groups += [] if tags is None else [group(CACHE, tags=tags)]
    snapshot = view(groups, [instance(A, APP, CACHE), instance(B, DB)], **gaps)
    link = Standing(APP, DB, (PORT,), (), (ours(key(DB, APP, "tcp/1")),))
    barring = with_prod(never=(Never(IN_PROD, ANY, (), "never"),))
    findings = list(blocked.barred(CloudSeen(barring, Scene(snapshot), REGION, NOW, [link])))
    assert [finding.subject for finding in findings] == [f"members of {APP} to {DB} tcp/1"] * reports
    assert all(finding.detail.startswith(f"{A} are in a linked group: ") for finding in findings)


@pytest.mark.parametrize(
    ("managed", "fields", "whole"),
    [
        ({DB}, {}, True),
        ({DB, APP}, {}, True),
        ({APP}, {}, False),
        ({DB}, {"unread": {HOME: 1}}, False),
        ({DB}, {"fetch": SimpleNamespace(postponed=[APP])}, False),
    ],
)
def test_a_sweep_has_judged_all_rules_where_it_read_each_group_that_holds_some(
    managed: set[Party], fields: dict[str, Any], whole: bool
) -> None:
    delivery = SimpleNamespace(policy=POLICY, region=REGION)
    read = {"delivery": delivery, "managed": managed, "unread": {}, "fetch": SimpleNamespace(postponed=[]), **fields}
    snapshot = view([group(DB), group(APP)], rules=[ours(key(DB, APP))])
    assert is_whole(cast(SweptAccounts, SimpleNamespace(**read)), snapshot) is whole


@pytest.mark.parametrize(
    ("tags", "accounts", "is_dead"),
    [
        (PROD, {HOME}, False),
        ({**PROD, "more": "x"}, {HOME}, False),
        ({"env": "prod"}, {HOME}, True),
        ({"env": "prod"}, {PEER}, False),  # home was not read completely
    ],
)
def test_consent_to_a_set_is_dead_where_no_group_is_in_it(
    tags: dict[str, str], accounts: set[str], is_dead: bool
) -> None:
    allowing = with_prod(allow=(Allow(IN_PROD, ANY, (), "allow"),))
    entries = [entry.reason for entry in dead(allowing, view([group(DB, tags=tags)]), NOW, accounts)]
    assert entries == [f"no group is in {SET}prod"] * is_dead


@pytest.mark.parametrize(
    ("name", "fields", "is_dead"),
    [
        ("*", {}, False),
        ("i-a", {}, False),
        ("sg-db", {}, False),
        ("i-gone", {}, True),
        ("i-gone", {"whole_accounts": {PEER}}, False),  # not all instances of home were read
        ("sg-gone", {"whole_accounts": {PEER}}, True),
        ("i-gone", {"accounts": {PEER}}, False),  # home was not read
    ],
)
def test_consent_to_a_party_is_dead_where_it_is_known_not_to_exist(
    name: str, fields: dict[str, Any], is_dead: bool
) -> None:
    allowing = policy(allow=(Allow(Grantee(HOME, name), ANY, (), "allow"),))
    accounts = fields.pop("accounts", {HOME})
    entries = [entry.reason for entry in dead(allowing, view([group(DB)], [instance(A, DB)], **fields), NOW, accounts)]
    assert entries == [f"{name}@{HOME} does not exist"] * is_dead


@pytest.mark.parametrize(
    ("forward", "back", "passes"),
    [
        (True, True, True),
        (True, False, False),
        (True, None, None),
        (None, True, None),
        (None, False, False),
        (False, True, False),
    ],
)
def test_packets_of_a_mutual_link_pass_where_they_pass_both_ways(
    mocker: MockerFixture, forward: bool | None, back: bool | None, passes: bool | None
) -> None:
    """It is not known where one way is not, and the other is not closed."""
    mocker.patch.object(live_tests, "_between", side_effect=[(forward, f"{forward}"), (back, f"{back}")])
    assert live_tests._passing(Scene(Snapshot()), Link(A, B)) == (passes, f"{passes}")


def test_quotas_of_one_account_are_its_own() -> None:
    """Of its groups and of its instances."""
    db = group(DB, rule_count=901)
    cloud_view = CloudSeen(POLICY, Scene(Snapshot(groups={DB: db}, instances={A: instance(A, DB)})), REGION, NOW, ())
    assert {finding.subject for finding in quotas.check(cloud_view, HOME)} > {f"quota of {DB}", f"quota of {A}"}
    assert list(quotas.check(cloud_view, PEER)) == []


def test_the_three_groups_with_the_most_sources_are_named_and_that_with_the_most_rules() -> None:
    parties = [Party(HOME, f"sg-{number}") for number in range(5)]
    groups = {party: group(party, group_rules=number, rule_count=9 - number) for number, party in enumerate(parties)}
    [finding] = quotas.check(CloudSeen(POLICY, Scene(Snapshot(groups=groups)), REGION, NOW, ()))
    named_groups = [text.partition("@")[0] for text in finding.detail.split(", ")]
    assert named_groups == ["sg-4", "sg-3", "sg-2", "sg-0"]


@pytest.mark.parametrize(
    ("keys", "prefixes"),
    [
        ({"link-accept", "net-accept", "owner"}, {"link", "net"}),
        ({"net-managed.prod.1", "owner"}, {"net"}),
        ({"net-owner", "net-manager.prod"}, set()),
        ({"Net-accept", "-accept", "Net-managed.prod.1"}, set()),  # no prefix of a deployment
    ],
)
def test_a_prefix_is_that_of_a_tag_by_which_a_group_consents_or_is_managed(keys: set[str], prefixes: set[str]) -> None:
    assert prefixes_of(keys) == prefixes


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a", "a"], "a"), (["a", "b", "c"], "a, b, c"), (["a", "b", "c", "a", "d", "e"], "a, b, c and 2 more")],
)
def test_of_many_the_first_three_are_named(names: list[str], text: str) -> None:
    assert few(names) == text


@pytest.mark.parametrize(("result", "warnings"), [("failed", ["too many removals", "look at the log"]), ("done", [])])
def test_an_account_whose_last_sweep_failed_is_a_warning(result: str, warnings: list[str]) -> None:
    """Beside what was read of it."""
    summary = {"scope": "account", "account": HOME, "time": iso(NOW), "entered_as": "own role", "outcome": result}
    runs = Runs([{**summary, "detail": "too many removals", "advice": "look at the log"}])
    env = cast(Environment, SimpleNamespace(policy=POLICY, now=NOW))
    dry_run = SimpleNamespace(unreadable={}, unread={}, snapshot=view([group(DB)], [instance(A, DB)]))
    cloud = cast(WhatIf, SimpleNamespace(identity=lambda account: (account, f"reader of {account}")))
    link = Standing(APP, DB, (PORT,), (), (ours(key(DB, APP, "tcp/1")),))
    findings = [
        each for each in accounts.check(env, runs, cast(SweptAccounts, dry_run), cloud, [link]) if each.where == HOME
    ]
    read = f"1 instance, 1 group with our rules, read here as reader of {HOME}"
    assert findings[0].detail == f"entered as own role 0 minutes ago; {read}"
    assert [(each.state, each.subject, each.detail, each.advice) for each in findings[1:]] == [
        (WARNING, "sweep", *warnings)
    ] * bool(warnings)


@pytest.mark.parametrize(
    ("counts", "age", "states"),
    [
        ((0, 0), 0, [OK, OK, OK]),
        ((0, 2), 1800, [OK, OK, OK]),
        ((0, 2), 1801, [WARNING, WARNING, WARNING]),  # of the two queues, and of the last run
        ((1, 2), 0, [WARNING, OK, OK]),
        ((0, 3), 0, [OK, WARNING, OK]),  # more than one for each account
    ],
)
def test_what_waits_for_half_an_hour_is_late(
    mocker: MockerFixture, counts: tuple[int, int], age: int, states: list[str]
) -> None:
    """A dead letter is too much at once."""
    backlogs = [SimpleNamespace(text=f"{count} wait", count=count, oldest=NOW - age) for count in counts]
    mocker.patch.object(running, "backlog", side_effect=backlogs)
    names = SimpleNamespace(dead_letters="dead", sweep_queue="sweeps")
    env = cast(Environment, SimpleNamespace(policy=POLICY, names=names, settings=None, now=NOW))
    run = {"scope": "timer", "time": iso(NOW - age), "accounts": "2", "dead_letters": "0"}
    findings = list(running.check(env, Runs([run])))
    assert [finding.state for finding in findings] == states
    ages = ", the oldest of 30 minutes ago" if age > 1800 else ""
    assert [finding.detail for finding in findings[:2]] == [f"{count} wait{ages}" for count in counts]
    assert [bool(finding.advice) for finding in findings] == [state == WARNING for state in states]
