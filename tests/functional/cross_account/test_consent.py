"""cross_account and consent: read in each account from the group's own tags, or from the policy's allow list."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.denial import parts

from tests.functional.lab import HOME, PEER, POLICY, Lab

ROLE = POLICY["accounts"][PEER]


def denied(lab: Lab, request: dict[str, Any]) -> dict[str, str]:
    """The record of a denial, after which nothing was written in either account."""
    before = lab.changes()
    assert lab.cross_account(request) == {"denied": 1}
    assert lab.changes() == before == 0
    return lab.outcome()


def test_without_consent_nothing_is_opened_and_the_record_names_the_missing_tag(lab: Lab) -> None:
    """The exact tag and group, with the account."""
    a, b = lab.group(), lab.group(account=PEER)
    record = denied(lab, lab.request(a, b, "tcp/3306", "udp/53"))
    assert record["reason"] == "no-consent"
    assert parts(record["advice"])[0] == f"tag {b.id}@{PEER} link-accept={a.id}@{HOME}:tcp/3306+udp/53"
    assert record["detail"] == f"{b.id}@{PEER} has not accepted {a.id}@{HOME} on tcp/3306+udp/53"


def test_following_the_advice_makes_the_link(lab: Lab) -> None:
    """With the tags that it names, the same request is applied."""
    a, b = lab.group(), lab.group(account=PEER)
    request = lab.request(a, b)
    denied(lab, request)
    for advice in parts(lab.outcome()["advice"])[0].split(" and "):
        _, group, _, tag = advice.replace("=", " ").split()
        lab.tag(a if group == f"{a.id}@{HOME}" else b, link_accept=tag)
    assert lab.cross_account(request) == {"applied": 1}


@pytest.mark.parametrize("missing", ["a", "b", "both"])
def test_a_mutual_link_needs_the_consent_of_both_groups(lab: Lab, missing: str) -> None:
    """If only one consents, neither side is opened."""
    a, b = lab.pair()
    for name, group in (("a", a), ("b", b)):
        if missing in (name, "both"):
            lab.tag(group, link_accept=None)
    record = denied(lab, lab.request(a, b))
    assert record["reason"] == "no-consent"
    assert (f"tag {a.id}@{HOME}" in record["advice"]) == (missing != "b")
    assert (f"tag {b.id}@{PEER}" in record["advice"]) == (missing != "a")


@pytest.mark.parametrize(
    ("entry", "ports", "outcome"),
    [
        ("{a}@{home}", (), "applied"),
        ("{a}@{home}:tcp/1", ("tcp/1",), "applied"),
        ("{a}@{home}:tcp/1-10", ("tcp/3", "tcp/5-10"), "applied"),
        ("{a}@{home}:tcp/1 {a}@{home}:udp/2", ("tcp/1", "udp/2"), "applied"),
        ("*@{home}", (), "applied"),
        ("*@{home}:tcp/1", ("tcp/1",), "applied"),
        ("{a}", ("tcp/1",), "denied"),  # bare means the accepting group's own account
        ("*", ("tcp/1",), "denied"),
        ("{a}@{peer}", ("tcp/1",), "denied"),
        ("*@{peer}", ("tcp/1",), "denied"),
        ("{a}@{home}:tcp/1", (), "denied"),  # consent to one port does not cover a mutual link
        ("{a}@{home}:tcp/1", ("udp/1",), "denied"),
        ("{a}@{home}:tcp/1", ("tcp/1", "tcp/2"), "denied"),  # one port is not covered, so the whole link is denied
        ("{a}@{home}:tcp/1-5 {a}@{home}:tcp/6-10", ("tcp/4-7",), "denied"),  # two entries together do not count as one
        ("{a}@{home}:", ("tcp/1",), "denied"),
        ("{a}@{home}:tcp/01", ("tcp/1",), "denied"),
        ("{a}@{home};*", ("tcp/1",), "denied"),
        ("SG-{a}@{home}", ("tcp/1",), "denied"),
    ],
)
def test_an_entry_consents_to_exactly_what_it_says(lab: Lab, entry: str, ports: tuple[str, ...], outcome: str) -> None:
    """The account must match, and each port must be covered by one entry."""
    a, b = lab.group(f"*@{PEER}"), lab.group(account=PEER)
    lab.tag(b, link_accept=entry.format(a=a.id, home=HOME, peer=PEER))
    assert lab.cross_account(lab.request(a, b, *ports)) == {outcome: 1}
    assert bool(lab.rules(b)) == (outcome == "applied")


def test_consent_to_a_group_covers_its_instances(lab: Lab) -> None:
    """Consent to an instance covers only that instance, not its group."""
    a, b = lab.group(), lab.group(account=PEER)
    one, two = lab.instance(a), lab.instance(b)
    lab.tag(b, link_accept=f"{a.id}@{HOME}:tcp/1 {one.id}@{HOME}:tcp/2")
    assert lab.cross_account(lab.request(one, two, "tcp/1")) == {"applied": 1}
    assert lab.cross_account(lab.request(one, two, "tcp/2", request_id="chg-2")) == {"applied": 1}
    assert lab.cross_account(lab.request(a, b, "tcp/2", request_id="chg-3")) == {"denied": 1}


def test_the_asking_sides_consent_does_not_count(lab: Lab) -> None:
    """Consent is read from the group that admits."""
    a, b = lab.group(f"*@{PEER} *@{HOME}"), lab.group(account=PEER)
    assert denied(lab, lab.request(a, b, "tcp/1"))["reason"] == "no-consent"


# the allow list


@pytest.mark.parametrize(
    ("allow", "outcome"),
    [
        ({"from": "{a}@{home}", "to": "{b}@{peer}", "ports": ["tcp/443"]}, "applied"),
        ({"from": "*@{home}", "to": "{b}@{peer}"}, "applied"),
        ({"from": "{b}@{peer}", "to": "{a}@{home}"}, "denied"),  # one direction each
        ({"from": "{a}@{peer}", "to": "{b}@{peer}"}, "denied"),
        ({"from": "{a}@{home}", "to": "{b}@{peer}", "ports": ["tcp/80"]}, "denied"),
    ],
)
def test_a_pair_on_the_allow_list_needs_no_tag(lab: Lab, allow: dict[str, Any], outcome: str) -> None:
    a, b = lab.group(), lab.group(account=PEER)
    names = {"a": a.id, "b": b.id, "home": HOME, "peer": PEER}
    entry = {k: v.format(**names) if isinstance(v, str) else v for k, v in allow.items()}
    lab.policy(allow=[entry])
    assert lab.cross_account(lab.request(a, b, "tcp/443")) == {outcome: 1}
    if outcome == "applied":
        assert "policy allow" in lab.outcome()["consent"]


def test_a_mutual_link_may_combine_a_tag_and_the_allow_list(lab: Lab) -> None:
    a, b = lab.group(), lab.group(f"*@{HOME}", account=PEER)
    lab.policy(allow=[{"from": f"{b.id}@{PEER}", "to": f"{a.id}@{HOME}"}])
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert "policy allow" in lab.outcome()["consent"]
    assert "link-accept" in lab.outcome()["consent"]


def test_with_accept_tags_off_only_the_allow_list_consents(lab: Lab) -> None:
    """The advice names the policy file, not a tag."""
    a, b = lab.pair()
    lab.policy(accept_tags=False)
    record = denied(lab, lab.request(a, b))
    assert record["reason"] == "no-consent"
    assert "policy file" in record["advice"]
    assert "link-accept" not in record["advice"]


# what the policy forbids


@pytest.mark.parametrize(
    ("changes", "ports"),
    [
        ({"deny": {"ports": ["tcp/22"]}}, ("tcp/20-30",)),
        ({"deny": {"ports": ["tcp/22"]}}, ("tcp/80", "tcp/22")),
        ({"deny": {"ports": ["tcp/22"]}}, ()),
        ({"limits": {"max_ports": 2}}, ("tcp/1", "tcp/2", "tcp/3")),
        ({"limits": {"max_port_span": 10}}, ("tcp/1-11",)),
    ],
)
def test_ports_that_the_policy_forbids_are_never_opened(
    lab: Lab, changes: dict[str, Any], ports: tuple[str, ...]
) -> None:
    a, b = lab.pair()
    lab.policy(**changes)
    assert denied(lab, lab.request(a, b, *ports))["reason"] == "not-allowed"


@pytest.mark.parametrize("side", ["from", "to"])
def test_an_account_that_the_policy_does_not_list_is_denied(lab: Lab, side: str) -> None:
    """No role is assumed and no call is made."""
    a, b = lab.pair()
    lab.policy(accounts={HOME: POLICY["accounts"][HOME]})
    request = lab.request(a, b) if side == "to" else lab.request(b, a)
    record = denied(lab, request)
    assert record["reason"] == "unknown-account"
    assert PEER in record["advice"]
    assert lab.cloud.faults.count("sts") == 0
    assert lab.cloud.faults.count("ecs") == 0


@pytest.mark.parametrize("action", ["link", "unlink", "sync"])
def test_while_paused_nothing_is_changed(lab: Lab, action: str) -> None:
    a, b = lab.pair()
    lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"})
    if action == "unlink":
        lab.cross_account(lab.request(a, b, "tcp/1"))
    lab.policy(paused=True)
    before, rules = lab.changes(), lab.rules(b)
    ports = ("tcp/1",) if action == "link" else ()
    assert lab.cross_account(lab.request(a, b, *ports, action=action)) == {"denied": 1}
    assert lab.outcome()["reason"] == "paused"
    assert lab.changes() == before
    assert lab.rules(b) == rules


def test_a_request_denied_while_paused_is_applied_when_posted_again(lab: Lab) -> None:
    a, b = lab.pair()
    lab.policy(paused=True)
    request = lab.request(a, b)
    lab.cross_account(request)
    lab.policy()
    assert lab.cross_account(request) == {"applied": 1}
