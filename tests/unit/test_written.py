"""The file of a proposal: what is written for each link, and what is wrong with one that a person changed."""

from __future__ import annotations

import pytest
from link_peer.domain.model import Party
from link_peer.domain.tags import iso, parse_ports
from link_peer_cli.inventory.period import Period
from link_peer_cli.usage.proposal import Proposal
from link_peer_cli.usage.written import MAX_UNSEEN, checked, text_of
from msgspec.structs import replace

from tests.unit.small_world import HOME, NOW, PEER, C
from tests.unit.snapshots import policy
from tests.unit.test_proposal import PRIMARY, SINCE, proposal

PERIOD = Period(SINCE, int(NOW), {}, {})
EVIDENCE = f'    evidence: {{days: 1, last: "{iso(SINCE)}", lines: 1}}'


def test_the_file_has_the_links_with_their_consent_and_what_is_left() -> None:
    """Each with its evidence, and parties of home without their account."""
    proposed = proposal((PRIMARY[C], 80), ("10.0.0.9", 22))
    assert text_of(proposed, PERIOD, HOME).splitlines() == [
        f"# What wide rules carried from {iso(SINCE)} to {iso(NOW)}, as links. link-peer check reads it.",
        "links:",
        '  - from: "sg-cache"',
        '    to: "sg-db"',
        "    ports: [tcp/80]",
        '    consent: {"on": "sg-db", entry: "sg-cache:tcp/80"}',
        '    egress: {"on": "sg-cache", entry: "sg-db:tcp/80"}',
        EVIDENCE,
        "left:",
        '  - from: "10.0.0.9"',
        '    to: "i-b"',
        "    ports: [tcp/22]",
        '    why: "unknown: no line of a flow log names who had it then"',
        EVIDENCE,
    ]
    assert text_of(Proposal((), ()), PERIOD, HOME).splitlines()[1:] == ["links: []", "left: []"]
    assert f'from: "sg-cache@{HOME}"' in text_of(proposed, PERIOD, PEER)


@pytest.mark.parametrize(
    ("count", "last_comment"), [(MAX_UNSEEN, "i-19@{}, which was not seen"), (MAX_UNSEEN + 2, "# and 2 more")]
)
def test_twenty_instances_that_a_link_also_admits_are_named(count: int, last_comment: str) -> None:
    """And others are counted."""
    [link] = proposal((PRIMARY[C], 80)).links
    unseen = tuple(Party(HOME, f"i-{number}") for number in range(count))
    comments = [
        line
        for line in text_of(Proposal((replace(link, unseen=unseen),), ()), PERIOD, HOME).splitlines()
        if "#" in line
    ]
    assert len(comments) == 1 + MAX_UNSEEN + (count > MAX_UNSEEN)
    assert comments[-1].endswith(last_comment.format(HOME))


@pytest.mark.parametrize(
    ("text", "changed_text", "problem"),
    [
        ("", "", ""),
        (
            "ports: [tcp/80]",
            "ports: [tcp/80, tcp/81]",
            f"does not cover the link from sg-cache@{HOME} on tcp/80+tcp/81",
        ),
        ('entry: "sg-cache:', 'entry: "sg-x:', f"does not cover the link from sg-cache@{HOME} on tcp/80"),
        ('entry: "sg-cache:tcp/80"', 'entry: "!"', "consent.entry"),
        ('to: "sg-db"', 'to: "i-b"', "a link is between two groups, or between two instances"),
        ('"on": "sg-db"', '"on": "i-b"', "a group consents, for the instances that are in it"),
        ('from: "sg-cache"', 'from: "sg-cache@1000000000000009"', "account 1000000000000009 is not in the policy"),
        ("ports: [tcp/80]", "ports: [tcp/22]", "the policy opens no link on tcp/22"),
    ],
)
def test_a_link_that_a_person_changed_is_checked(text: str, changed_text: str, problem: str) -> None:
    """Its ends, its accounts, its ports and the entry, by the line at which it begins."""
    document = text_of(proposal((PRIMARY[C], 80)), PERIOD, HOME).replace(text, changed_text)
    _, problems = checked(document, "p.yaml", policy(deny=parse_ports("tcp/22")))
    assert any(problem in line for line in problems) is bool(problem)
    assert all(line.startswith("p.yaml:3") for line in problems)
