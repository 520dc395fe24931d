"""A deployment was renamed: what it left under its former name is shown, and can be closed; nothing else is touched."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from link_peer_cli.closing import renamed
from link_peer_cli.demo.functions import deploy

from tests.functional.cli.test_neighbours import other_deployment
from tests.functional.command import Cli, Linked, Owners, Typed
from tests.functional.lab import HOME, MANAGED, PEER, Lab
from tests.sample import sample

pytestmark = pytest.mark.usefixtures("peer_profile")

LATER = 1801
"""Seconds after which the last sweep under the former name is no sign of life."""


@pytest.fixture(name="links")
def _links(lab: Lab) -> Linked:
    """What the deployment `prod` opened before its policy called it `new`."""
    links = Linked(lab)
    lab.policy(deployment="new")
    lab.cloud.clock.advance(LATER)
    lab.sweep()
    assert links.counts() == [1, 1, 1, 1]
    return links


def rules_of_others(lab: Lab, links: Linked) -> list[str]:
    """Adds rules that only look like those of the former name, to a group with one: under another home, and with the
    marker of another rule. Returns all rules of that group."""
    marker_text = f"link-peer/2 dep=prod home={HOME} id={'0' * 16} by=req:chg-1"
    for port, marker in (("1/1", marker_text), ("2/2", marker_text.replace(HOME, PEER))):
        rule = {"IpProtocol": "TCP", "PortRange": port, "SourceGroupId": links.app.id, "Priority": "100"}
        lab.authorize(links.cache, **rule, Policy="accept", NicType="intranet", Description=marker)
    return lab.rules(links.cache)


def test_every_view_shows_what_the_former_name_left(lab: Lab, links: Linked, cli: Cli) -> None:
    """With that name, also on groups that lost its managed tag. A rule with a marker that is not its own is no link."""
    rules_of_others(lab, links)
    cache, caller = links.cache, lab.raw_rules(links.cache)
    lab.call(HOME, "UntagResources", {"ResourceType": "securitygroup", "ResourceId.1": cache.id, "TagKey.1": MANAGED})
    code, listed = cli.json("links")
    assert (code, [(deployment["deployment"], deployment["state"]) for deployment in listed]) == (
        0,
        [("prod", "open")] * 3,
    )
    assert cli("links") == 0
    assert cli.out.count("(of deployment prod)") == 3
    source = next(rule["SourceGroupId"] for rule in caller if rule["PortRange"] == "6379/6379")
    code, [explanation] = cli.json("explain", source, cache.id)
    assert [link["deployment"] for link in explanation["links"]] == ["prod"]
    code, arrows = cli.json("map")
    assert {arrow["deployment"] for arrow in arrows if arrow["made_by"] == "link-peer"} == {"prod"}
    assert cli("map") == 0
    assert '"tcp/6379 (of deployment prod)"' in cli.out
    code, [dry] = cli.json("sweep", "--dry-run")
    kinds = [entry["kind"] for entry in dry["obsolete"] if "prod" in entry["why"]]
    assert sorted(kinds) == ["deployment"] * 4 + ["marker"]
    code, findings = cli.json("doctor")
    advice = "if it is a former name of this one: link-peer close --deployment prod --dry-run"
    assert [finding["where"] for finding in findings if finding["advice"] == advice] == [HOME, PEER]


@pytest.mark.knobs(request_tags=True)  # else the peer has no managed tag
def test_its_rules_are_closed_and_its_tags_taken_off(lab: Lab, links: Linked, cli: Cli) -> None:
    """By id, in every account, with an intent and an outcome; what only looks like them stays, and so do its own
    groups."""
    standing = [rule for rule in rules_of_others(lab, links) if not rule.endswith("6379")]
    before = lab.changes()
    code, [planned] = cli.json("close", "--deployment", "prod", "--dry-run")
    assert (code, len(planned["decisions"]), lab.changes()) == (0, 3, before)
    assert sum("RevokeSecurityGroup" in command["command"] for command in planned["commands"]) == 4
    assert cli("close", "--deployment", "prod", "--yes", "--profile", "peer") == 0, cli.err
    assert "found: 4 rules of deployment prod on 4 groups; left: 0" in cli.out
    assert links.counts() == [0, 0, 0, 2]
    assert lab.rules(links.cache) == standing
    assert not any(MANAGED in lab.tags(group) for group in links.groups)
    records = lab.records("intent", "outcome", function="close", deployment="prod")
    assert {record["outcome"] for record in records if record["record"] == "outcome"} == {"removed"}
    assert all(record["claimed_by"].startswith(f"acs:ram::{HOME}:") for record in records)
    lab.sweep()
    lab.drain()
    assert links.counts() == [1, 1, 0, 3]  # the tags' links are those of the new name now
    assert cli("close", "--deployment", "prod", "--yes") == 0
    assert "found: 0 rules" in cli.out


@pytest.mark.knobs(request_tags=True)
def test_without_keys_the_owner_gets_the_command_for_the_tag(lab: Lab, links: Linked, cli: Cli) -> None:
    """The rules are removed all the same, through the roles."""
    assert cli("close", "--deployment", "prod", "--yes") == 1
    assert links.counts() == [0, 0, 0, 0]
    untag = "aliyun ecs UntagResources --RegionId cn-qingdao --ResourceType securitygroup --ResourceId.1"
    assert f"{untag} {links.db.id}" in cli.out


def test_an_account_that_refuses_access_keeps_nothing_elsewhere_open(lab: Lab, links: Linked, cli: Cli) -> None:
    """Home's half of a mutual link goes, too; the account is named; keys of it close the rest."""
    del lab.cloud.identity.roles[f"acs:ram::{PEER}:role/link-peer"]
    assert cli("close", "--deployment", "prod", "--yes") == 1
    assert links.counts() == [0, 1, 0, 0]
    assert f"{PEER}: " in cli.err
    assert cli("close", "--deployment", "prod", "--yes", "--profile", "peer") == 0, cli.err
    assert links.counts() == [0, 0, 0, 0]


def test_it_asks_first(lab: Lab, links: Linked, cli: Cli, typed: Typed) -> None:
    """And changes nothing if the answer is no, or there is nobody to ask."""
    typed("n\n")
    assert cli("close", "--deployment", "prod") == 1
    assert "Remove 4 rules of deployment prod on 4 groups?" in cli.out
    assert cli("close", "--deployment", "prod", "--json") == 2
    assert links.counts() == [1, 1, 1, 1]


# what `close` counts

EVERYTHING: dict[str, tuple[tuple[str, ...], int]] = {
    "a group": (("{cache}",), 1),
    "a group of a mutual link": (("{app}",), 2),
    "its other half": (("{db}@{peer}",), 2),
    "an account": (("{home}",), 4),
    "the other account": (("{peer}",), 2),
    "everything": (("--all",), 4),
}


@pytest.mark.knobs(mfa_in_sessions=True, request_tags=True)
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("case", "first"), sample(itertools.product(EVERYTHING, ["nothing", "a dry run", "the lock and a sweep"]), 3)
)
def test_close_counts_what_the_former_name_left(
    lab: Lab, links: Linked, cli: Cli, case: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both halves of a mutual link, in whichever account; the group open, or locked and swept. What it prints closes
    them."""
    parties = {"cache": links.cache.id, "app": links.app.id, "db": links.db.id, "home": HOME, "peer": PEER}
    args = [text.format(**parties) for text in EVERYTHING[case][0]]
    if first == "the lock and a sweep":
        for group in links.groups:
            lab.tag(group, link_lock="")
        lab.auto_link(lab.group_event(links.app))
        lab.sweep()
    assert links.counts() == [1, 1, 1, 1]
    for options in (["--dry-run"],) if first == "a dry run" else (["--yes"], ["--yes"]):
        code, [answer] = cli.json("close", *args, *options)
        assert (code, len(answer["left"])) == (1, EVERYTHING[case][1])
        assert all(text.endswith("(of deployment prod)") for text in answer["left"])
        assert cli("close", *args, *options) == 1
        assert f"still open: rule {answer['left'][0]}" in cli.err
    commands = [
        command for account in answer["accounts"] for command in account["advice"] if "--deployment prod" in command
    ]
    assert set(commands) <= {*cli.out.splitlines()}
    for command in commands:
        Owners(lab, cli, monkeypatch).paste(f"{command} --profile peer")
    code, [answer] = cli.json("close", *args, "--yes", "--profile", "peer")
    assert (code, answer["left"], answer["problems"]) == (0, [], {})
    assert sum(links.counts()) == 4 - EVERYTHING[case][1]


def test_of_many_groups_the_command_names_the_accounts(
    lab: Lab, links: Linked, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is too long cannot be pasted."""
    monkeypatch.setattr(renamed, "MAX_GROUPS", 2)
    _, [answer] = cli.json("close", "--all", "--yes")
    commands = [command for account in answer["accounts"] for command in account["advice"]]
    assert f"link-peer close {HOME} --deployment prod --yes" in commands
    Owners(lab, cli, monkeypatch).paste("; ".join(commands))
    assert links.counts() == [0, 0, 0, 0]


@pytest.mark.knobs(request_tags=True)
def test_close_counts_a_rule_whose_description_names_this_home_and_is_not_its_marker(
    lab: Lab, links: Linked, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone added a note to it, or copied it: no function removes it, and the group is open."""
    rules_of_others(lab, links)
    assert cli("close", links.cache.id, "--deployment", "prod", "--yes") == 0, cli.err
    code, [answer] = cli.json("close", links.cache.id)
    assert (code, len(answer["left"])) == (1, 1)
    assert "is not the marker of this rule" in answer["left"][0]
    [command] = answer["accounts"][0]["advice"]
    Owners(lab, cli, monkeypatch).paste(command)
    assert cli("close", links.cache.id) == 0, cli.err
    assert links.counts()[3] == 1  # that of another home


def test_half_of_a_mutual_link_that_cannot_be_read_is_said(lab: Lab, links: Linked, cli: Cli) -> None:
    """It may stand: also on the second run, when its own half is gone, and nothing here leads to it but the cloud."""
    lab.policy(deployment="prod")
    del lab.cloud.identity.roles[f"acs:ram::{PEER}:role/link-peer"]
    for _ in range(2):
        code, [answer] = cli.json("close", links.app.id)
        assert (code, answer["left"], links.counts()[:2]) == (1, [], [0, 1])
        assert "half of a mutual link may still stand there" in answer["problems"][f"{links.db.id}@{PEER}"]


def test_close_with_the_keys_of_another_account_counts_there(
    lab: Lab, links: Linked, cli: Cli, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next sweep removes what is of this deployment, and nothing else. The owner's keys do."""
    request.getfixturevalue("peer_keys")
    code, [answer] = cli.json("close", links.db.id)
    assert (code, [text.endswith("(of deployment prod)") for text in answer["left"]]) == (1, [True])
    [command] = answer["accounts"][0]["advice"]
    Owners(lab, cli, monkeypatch).paste(command, PEER)
    code, [answer] = cli.json("close", links.db.id)
    assert (code, answer["left"], links.counts()[1]) == (0, None, 0)


def test_an_account_is_not_removed_while_the_former_name_has_rules_there(
    lab: Lab, links: Linked, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its role would be gone, and nothing could close them."""
    code, [answer] = cli.json("account", "remove", PEER, "--yes")
    assert (code, len(answer["left"])) == (1, 3)
    commands = [text.partition("): ")[2] for text in answer["left"]]
    for command in commands:
        Owners(lab, cli, monkeypatch).paste(f"{command} --profile peer")
    assert links.counts()[:3] == [0, 0, 0]
    assert cli("account", "remove", PEER, "--yes") == 0, cli.err


def _swept(lab: Lab) -> None:
    lab.policy(deployment="prod")
    lab.sweep()
    lab.policy(deployment="new")


def _functions(lab: Lab) -> None:
    deploy(lab.cloud, in_process=True)
    other_deployment(lab, "acme", LINK_PEER_TAG_PREFIX="acme")


ALIVE: dict[str, tuple[Callable[[Lab], object], str]] = {
    "its sweep ran": (_swept, "its sweep ran at"),
    "functions of another prefix may be its": (_functions, "the functions acme-… are in account"),
}


@pytest.mark.parametrize("case", ALIVE)
def test_a_deployment_that_may_be_alive_is_closed_only_if_a_person_insists(
    lab: Lab, links: Linked, cli: Cli, case: str
) -> None:
    """Else its functions would open again what was closed."""
    happens, message = ALIVE[case]
    happens(lab)
    assert cli("close", "--deployment", "prod", "--yes", "--profile", "peer") == 1
    assert message in cli.err
    assert "--even-if-alive" in cli.err
    assert links.counts() == [1, 1, 1, 1]
    code, [answer] = cli.json("close", links.cache.id)
    assert (code, message in answer["problems"]["deployment prod"]) == (1, True)
    assert [line.split()[:3] for line in answer["accounts"][0]["advice"]] == [["aliyun", "ecs", "RevokeSecurityGroup"]]
    assert cli("close", "--deployment", "prod", "--yes", "--profile", "peer", "--even-if-alive") == 0, cli.err
    assert links.counts() == [0, 0, 0, 0]
