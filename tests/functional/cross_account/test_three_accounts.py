"""Home and two peers: what is done in one account needs its own role, its own consent, and no other peer."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, OTHER, PEER, Lab

PEERS = (PEER, OTHER)


@pytest.fixture(name="lab")
def _lab(three_accounts: Lab) -> Lab:
    return three_accounts


def test_each_request_opens_its_rule_in_the_account_that_it_names(lab: Lab) -> None:
    """In one delivery, with a session for each account, which is used for that account's groups alone."""
    a = lab.group()
    groups = {account: lab.group(f"*@{HOME}", account=account) for account in PEERS}
    requests = [lab.request(a, group, "tcp/1", request_id=f"to-{account}") for account, group in groups.items()]
    assert lab.cross_account(*requests) == {"applied": 2}
    assert [lab.rules(group) for group in groups.values()] == [[f"{a.id} tcp/1"]] * 2
    calls = [call for call in lab.cloud.faults.calls if call.service == "ecs"]
    accounts = {(call.account, call.params.get("SecurityGroupId") or call.params.get("ResourceId.1")) for call in calls}
    assert {(account, group) for account, group in accounts if group} == {
        (g.account, g.id) for g in (a, *groups.values())
    }
    assumed = [call.params["RoleArn"] for call in lab.cloud.faults.calls if call.action == "AssumeRole"]
    assert sorted(assumed) == [f"acs:ram::{account}:role/link-peer" for account in PEERS]


def test_two_peers_are_linked_without_a_party_of_home(lab: Lab) -> None:
    """A mutual link has a rule in each of their accounts, and an unlink removes both."""
    b, c = lab.group(f"*@{OTHER}", account=PEER), lab.group(f"*@{PEER}", account=OTHER)
    assert lab.cross_account(lab.request(b, c)) == {"applied": 1}
    assert (lab.rules(b), lab.rules(c)) == ([f"{c.id} all"], [f"{b.id} all"])
    assert lab.cross_account(lab.request(b, c, action="unlink")) == {"removed": 1}
    assert (lab.rules(b), lab.rules(c)) == ([], [])


@pytest.mark.parametrize(("shut", "open_"), [(PEER, OTHER), (OTHER, PEER)])
def test_a_peer_that_cannot_be_entered_does_not_keep_the_other_from_being_served(
    lab: Lab, shut: str, open_: str
) -> None:
    """Its links stay as they are, and new ones are denied; those of the other peer are opened and closed."""
    a = lab.group(f"*@{PEER}", f"*@{OTHER}")
    mine, theirs = lab.group(f"*@{HOME}", account=open_), lab.group(f"*@{HOME}", account=shut)
    lab.cross_account(lab.request(a, theirs, "tcp/1", request_id="before"))
    lab.cloud.identity.roles[f"acs:ram::{shut}:role/link-peer"].trust = ""
    lab.cloud.clock.advance(900)
    requests = [lab.request(a, group, "tcp/2", request_id=f"to-{group.account}") for group in (theirs, mine)]
    assert lab.cross_account(*requests) == {"denied": 1, "applied": 1}
    (denied,) = lab.records(outcome="denied")
    assert (denied["reason"], denied["to_account"]) == ("no-access", shut)
    lab.tag(mine, link_accept=None)
    lab.sweep()
    assert (lab.rules(mine), lab.rules(theirs)) == ([], [f"{a.id} tcp/1"])
