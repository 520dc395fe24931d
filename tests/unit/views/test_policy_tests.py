"""What the policy alone says about its tests, as a table."""

from __future__ import annotations

import pytest
from link_peer.inbound.policy_file import parse
from link_peer.views.policy_tests import PolicyVerdict, judge

A, B = "1000000000000001", "1000000000000002"
NOW = 1_798_000_000.0  # before 2027
POLICY = f"""
deployment: prod
accounts:
  "{A}": {{{{}}}}
  "{B}": {{{{role: "acs:ram::{B}:role/link-peer", external_id: secret}}}}
accept_tags: {{tags}}
allow:
  - {{{{from: "sg-app@{A}", to: "sg-db@{B}", ports: [tcp/3306, tcp/8000-8010]}}}}
  - {{{{from: "sg-app@{A}", to: "sg-log@{B}"}}}}
  - {{{{from: "sg-log@{B}", to: "sg-app@{A}", until: "2027-01-01T00:00:00Z"}}}}
  - {{{{from: "*@{A}", to: "i-metrics@{B}", ports: [tcp/9090]}}}}
  - {{{{from: "sg-app@{A}", to: "i-metrics@{B}", ports: [tcp/9100]}}}}
deny: {{{{ports: [{{deny}}]}}}}
tests:
  - {{{{from: "{{source}}", {{word}}: ["{{target}}"]}}}}
"""


def policy(source: str, word: str, target: str, *, tags: str = "false", deny: str = "") -> str:
    return POLICY.format(source=source, word=word, target=target, tags=tags, deny=deny)


@pytest.mark.parametrize(
    ("source", "target", "verdict", "with_tags"),
    [
        (f"sg-app@{A}", f"sg-db@{B}:tcp/3306", "allowed", "allowed"),
        (f"sg-app@{A}", f"sg-db@{B}:tcp/3306+tcp/8000-8005", "allowed", "allowed"),
        (f"sg-app@{A}", f"sg-db@{B}:tcp/3306+tcp/22", "denied", "unknown"),  # each port must be covered
        (f"sg-app@{A}", f"sg-db@{B}:tcp/8005-8011", "denied", "unknown"),
        (f"sg-app@{A}", f"sg-db@{B}", "denied", "unknown"),  # no ceiling is everything
        (f"sg-app@{A}", f"sg-log@{B}", "allowed", "allowed"),  # consent in both directions
        (f"sg-app@{A}", f"sg-other@{B}:icmp", "denied", "unknown"),
        (f"sg-db@{B}", f"sg-app@{A}:tcp/3306", "denied", "unknown"),  # an entry is one direction
        (f"i-a@{A}", f"i-metrics@{B}:tcp/9090", "allowed", "allowed"),
        (f"i-b@{B}", f"i-metrics@{B}:tcp/9090", "denied", "unknown"),  # every instance of the other account
        (f"i-a@{A}", f"i-metrics@{B}:tcp/9100", "unknown", "unknown"),  # it may be in sg-app
        (f"i-a@{A}", f"i-b@{B}:tcp/3306", "unknown", "unknown"),  # they may be in sg-app and sg-db
        (f"i-a@{A}", f"i-b@{B}:tcp/22", "unknown", "unknown"),  # or in sg-app and sg-log
        (f"i-b@{B}", f"i-a@{A}:tcp/22", "unknown", "unknown"),
        (f"i-b@{B}", f"i-c@{B}:tcp/22", "denied", "unknown"),
        (f"sg-app@{A}", f"i-metrics@{B}:tcp/9090", "denied", "denied"),  # mixed kinds are no link
        (f"sg-app@{A}", f"sg-log@{B}:tcp/1-1025", "denied", "denied"),  # wider than limits.max_port_span
    ],
)
def test_what_the_policy_alone_says(source: str, target: str, verdict: str, with_tags: str) -> None:
    """Without counting tags as consent, and with it."""
    for tags, expected in (("false", verdict), ("true", with_tags)):
        [finding] = judge(parse(policy(source, "accept", target, tags=tags)), NOW)
        assert finding.verdict is PolicyVerdict(expected), finding.reason


@pytest.mark.parametrize(
    ("target", "accept_fails", "deny_fails"),
    [(f"sg-db@{B}:tcp/3306", False, True), (f"sg-db@{B}:tcp/22", True, False)],
)
def test_a_test_fails_only_where_the_policy_contradicts_it(target: str, accept_fails: bool, deny_fails: bool) -> None:
    """What depends on tags contradicts nothing."""
    for word, fails in (("accept", accept_fails), ("deny", deny_fails)):
        [finding] = judge(parse(policy(f"sg-app@{A}", word, target)), NOW)
        assert finding.failed is fails
        [opened] = judge(parse(policy(f"sg-app@{A}", word, f"sg-db@{B}:tcp/22", tags="true")), NOW)
        assert not opened.failed


@pytest.mark.parametrize(
    ("never", "verdict"),
    [
        (f"sg-app@{A}", "denied"),
        (f"*@{A}", "denied"),
        (f"sg-other@{A}", "allowed"),
        ("set:dev", "unknown"),  # the tags of sg-app tell
    ],
)
def test_never_wins_over_the_list(never: str, verdict: str) -> None:
    """By a set, only tags can tell."""
    text = policy(f"sg-app@{A}", "accept", f"sg-db@{B}:tcp/3306")
    text += f'sets: {{dev: {{account: "{A}", tags: {{env: dev}}}}}}\n'
    [finding] = judge(parse(f'{text}never: [{{from: "{never}", to: "*@{B}"}}]\n'), NOW)
    assert finding.verdict is PolicyVerdict(verdict)
    [allowed] = judge(
        parse(text.replace(f'from: "sg-app@{A}", to: "sg-db@{B}"', f'from: "set:dev", to: "sg-db@{B}"')), NOW
    )
    assert allowed.verdict is PolicyVerdict.OPEN


def test_an_entry_that_has_ended_consents_to_nothing() -> None:
    """The mutual link loses one of its directions in 2027."""
    text = policy(f"sg-app@{A}", "accept", f"sg-log@{B}")
    assert [judge(parse(text), now)[0].failed for now in (1_798_761_599.0, 1_798_761_600.0)] == [False, True]


def test_a_finding_names_its_place_and_the_fact_that_decided() -> None:
    [finding] = judge(parse(policy(f"sg-app@{A}", "deny", f"sg-db@{B}:tcp/3306")), NOW)
    assert str(finding) == (
        f"tests[0].deny[0]: sg-app@{A} -> sg-db@{B}:tcp/3306 must be denied, and is allowed: "
        "entries of `allow` consent to it"
    )
