"""The policy file: read strictly, and every refusal names the file, the line and what to do."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import sys
from pathlib import Path
from string import Template
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_peer.domain.errors import PolicyError
from link_peer.domain.model import Party, Port
from link_peer.domain.policy import GroupSet, Limits, Pause, PolicyTest
from link_peer.domain.tags import Grantee
from link_peer.inbound import policy_file, yaml_reader
from link_peer.inbound.policy_file import load, parse
from pytest_mock import MockerFixture

from tests.sample import sample

A = "1000000000000001"
B = "1000000000000002"
ROOT = Path(__file__).parents[3]

GOOD = f"""\
deployment: prod
accounts:
  "{A}": {{name: a@aliyun.com}}
  "{B}":
    name: b@aliyun.com
    role: acs:ram::{B}:role/link-peer
    external_id: link-peer-local-example
    ranges: [10.20.0.0/16, 192.168.0.1/32]
    queue: link-peer-requests-b
accept_tags: true
allow:
  - {{from: "sg-app@{A}", to: "sg-db@{B}", ports: [tcp/443, tcp/1-9, tcp/443]}}
  - {{from: "*@{B}", to: "i-db@{A}", until: "2027-01-01T08:00:00.5+08:00"}}
deny: {{ports: [tcp/22, icmp]}}
limits: {{removals_per_run: 0, max_ports: 2, max_peers: 3, max_days: 90}}
paused: false
tests:
  - {{from: "sg-app@{A}", accept: ["sg-db@{B}:tcp/3306+icmp", "sg-log@{B}"], deny: ["sg-db@{B}:tcp/22"]}}
"""


GUARDED = (
    f"""\
sets: {{prod: {{account: "{A}", tags: {{env: prod, tier: db}}}}, b: {{account: "{B}", tags: {{env: prod}}}}}}
never: [{{from: "*@{B}", to: "set:prod", ports: [tcp/22]}}, {{from: "set:b", to: "i-db@{A}"}}]
names: {{ledger: "sg-db@{B}", app-1: "i-app@{A}"}}
"""
    + GOOD
)


def changed(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


def padded(length: int) -> str:
    """The good file with a comment that fills it up to so many bytes."""
    return GOOD + "#财".ljust(length - len(GOOD) - 2, "x")


def guarded(old: str, new: str) -> str:
    return changed(old, new, GUARDED)


def test_guardrails_sets_and_names_are_read() -> None:
    """A set is of one account, and stands for a group of it; the keys of sets are tags that count."""
    policy = parse(guarded(f'to: "sg-db@{B}"', 'to: "set:b"'))
    ssh, second_rule = policy.never
    assert (ssh.source, ssh.target, ssh.ports) == (Grantee(B, "*"), Grantee(A, "set:prod"), (Port("tcp", 22, 22),))
    assert (second_rule.source, second_rule.target, second_rule.ports) == (Grantee(B, "set:b"), Grantee(A, "i-db"), ())
    assert (ssh.text, second_rule.text) == (f"never=*@{B}->set:prod:tcp/22", f"never=set:b->i-db@{A}")
    assert policy.allow[0].target == Grantee(B, "set:b")
    assert policy.sets == {"prod": GroupSet(A, {"env": "prod", "tier": "db"}), "b": GroupSet(B, {"env": "prod"})}
    assert policy.names == {"ledger": Party(B, "sg-db"), "app-1": Party(A, "i-app")}
    assert len(parse(guarded("tier: db", "a: a, b: b, c: c, d: d")).keys.sets) == 5
    assert (policy.keys.sets, policy.keys.names) == (("env", "tier"), policy.names)


def test_every_part_of_the_file_is_read() -> None:
    """The example of the contract's form gives the values it names."""
    policy = parse(GOOD)
    assert (policy.deployment, policy.home) == ("prod", A)
    assert policy.accounts[A].role is None
    assert policy.accounts[B].role == f"acs:ram::{B}:role/link-peer"
    assert policy.accounts[B].external_id == "link-peer-local-example"
    assert (policy.accept_tags, policy.tag_prefix) == (True, "")
    assert parse(changed("deployment", "tag_prefix: acme\ndeployment")).keys.peer == "acme-peer"
    assert policy.deny == (Port("icmp"), Port("tcp", 22, 22))
    assert policy.limits == Limits(removals_per_run=0, max_ports=2, max_peers=3, max_days=90)
    assert policy.paused is Pause.NONE
    assert policy.accounts[B].ranges == ("10.20.0.0/16", "192.168.0.1/32")
    assert (policy.accounts[A].ranges, policy.accounts[A].queue) == ((), "")
    assert policy.bound_queues == {"link-peer-requests-b": B}
    assert parse(changed("    queue: link-peer-requests-b\n", "")).bound_queues == {}
    app, wide = policy.allow
    assert (app.source, app.target) == (Grantee(A, "sg-app"), Grantee(B, "sg-db"))
    assert app.ports == (Port("tcp", 1, 9), Port("tcp", 443, 443))
    assert app.text == f"allow=sg-app@{A}->sg-db@{B}:tcp/1-9+tcp/443"
    assert (wide.source, wide.target, wide.ports) == (Grantee(B, "*"), Grantee(A, "i-db"), ())
    assert wide.text == f"allow=*@{B}->i-db@{A}~20270101T000000Z"
    assert (app.until, wide.until) == (None, 1798761600)
    database, ports = Grantee(B, "sg-db"), (Port("icmp"), Port("tcp", 3306, 3306))
    assert policy.tests == (
        PolicyTest(
            Grantee(A, "sg-app"),
            ((database, ports), (Grantee(B, "sg-log"), ())),
            ((database, (Port("tcp", 22, 22),)),),
        ),
    )


@pytest.mark.parametrize(
    ("limit", "lowest", "highest"),
    [
        ("removals_per_run", 0, 100_000),
        ("max_ports", 1, 100),
        ("max_port_span", 1, 65_535),
        ("max_peers", 1, 1_000),
        ("max_members", 1, 100),
        ("max_days", 1, 3_650),
        ("max_days_tags", 1, 3_650),
    ],
)
def test_each_limit_has_bounds(limit: str, lowest: int, highest: int) -> None:
    """The lowest of removals is none at all. What is beyond is refused with its line: it would fail later, for every
    request."""
    line = "limits: {removals_per_run: 0, max_ports: 2, max_peers: 3, max_days: 90}"
    for good, bad in (
        (lowest, lowest - 1),
        (highest, highest + 1),
        (highest, 9_999_999),
        (lowest, "010"),
        (lowest, "2.5"),
        (lowest, '"2"'),
    ):
        assert getattr(parse(changed(line, f"limits: {{{limit}: {good}}}")).limits, limit) == good
        fault = rf":15:\d+: limits\.{limit}: must be a whole number from {lowest} to {highest}"
        with pytest.raises(PolicyError, match=fault):
            parse(changed(line, f"limits: {{{limit}: {bad}}}"))


def test_home_may_have_ranges_and_a_queue_too() -> None:
    """They need no role, and an account no name, which is for people: the uid stands in for it."""
    account = parse(
        changed("{name: a@aliyun.com}", "{ranges: [10.0.0.0/12], queue: Q-1, flowlog: own-logs/vpc_1}")
    ).accounts[A]
    assert (account.ranges, account.queue, account.role) == (("10.0.0.0/12",), "Q-1", None)
    assert (account.flowlog, account.name) == ("own-logs/vpc_1", A)


@pytest.mark.parametrize("limit", ["max_days", "max_days_tags"])
def test_a_limit_of_days_may_be_null(limit: str) -> None:
    """As it is if it is left out: links need no end."""
    assert getattr(parse(changed("max_days: 90", f"{limit}: null")).limits, limit) is None
    assert getattr(parse(changed(", max_days: 90", "")).limits, limit) is None
    assert getattr(parse(changed("max_days: 90", f"{limit}: 1")).limits, limit) == 1


def test_what_is_left_out_has_a_safe_default() -> None:
    """Tags consent, nothing is allowed beside them, and the limits are those of the contract."""
    policy = parse(f'deployment: prod\naccounts: {{"{A}": {{name: a}}}}\n')
    assert (policy.accept_tags, policy.allow, policy.deny, policy.tests) == (True, (), (), ())
    assert (policy.never, policy.sets, policy.names) == ((), {}, {})
    assert policy.paused is Pause.NONE
    assert policy.bound_queues == {}
    assert msgspec.structs.astuple(policy.limits) == (50, 16, 1024, 50, 50, None, None)


def test_the_policy_that_init_writes_validates() -> None:
    """It opens nothing by itself, and is not paused."""
    values = {"home": A, "name": "home", "deployment": "prod", "prefix": "link-peer", "tag_prefix": "link"}
    policy = parse(Template((ROOT / "deploy/init/policy.yaml").read_text("utf-8")).substitute(values))
    assert list(policy.accounts) == [policy.home] == [A]
    assert (policy.allow, policy.deny, policy.paused, policy.denies_mutual) == ((), (), Pause.NONE, True)


NAMED = f"""\
deployment: prod
accounts: {{"{A}": {{}}, "{B}": {{role: "acs:ram::{B}:role/r", external_id: xy}}}}
names: {{ledger: "sg-db@{B}", app-1: "sg-app@{A}"}}
allow: [{{from: APP, to: LEDGER, ports: [tcp/1]}}]
never: [{{from: LEDGER, to: "*@{A}"}}]
tests: [{{from: APP, accept: [LEDGER], deny: ["LEDGER:tcp/22"]}}]
"""


def test_a_name_stands_for_its_party_in_allow_never_and_tests() -> None:
    """What decides, and the text that records have, name the id."""
    by_name, by_id = (
        parse(NAMED.replace("LEDGER", ledger).replace("APP", app).replace(f"[sg-db@{B}]", f'["sg-db@{B}"]'))
        for ledger, app in (("ledger", "app-1"), (f"sg-db@{B}", f"sg-app@{A}"))
    )
    assert by_name == by_id
    assert [entry.text for entry in (*by_name.allow, *by_name.never)] == [
        f"allow=sg-app@{A}->sg-db@{B}:tcp/1",
        f"never=sg-db@{B}->*@{A}",
    ]


@pytest.mark.parametrize(("text", "denies"), [("", False), ("mutual: allow\n", False), ("mutual: deny\n", True)])
def test_links_without_ports_may_open_unless_the_file_denies_them(text: str, denies: bool) -> None:
    assert parse(text + GOOD).denies_mutual is denies


# fmt: off
CHANGED = (  # the refusal, what of GOOD is replaced, and the texts that are each refused in its place
    ("2:1: accounts: exactly one account, the home account, must have no role:", "{name: a@aliyun.com}", f'{{role: "acs:ram::{A}:role/r", external_id: ab}}'),
    (f"5:5: accounts.{B}: unknown key 'alias'", "    name: b@", "    alias: b@"),
    ("12:39: allow[0]: unknown key 'too'", 'to: "sg-db', 'too: "sg-db'),
    ("16:1: duplicate key 'accept_tags': keep one", "paused: false", "accept_tags: false"),
    (f"4:3: accounts: duplicate key '{A}': keep one", f'"{B}":', f"'{A}':"),
    ("1:1: `deployment` is missing: add it", "deployment: prod\n", ""),
    ("1:13: tag_prefix: must be 1 to 16 characters", "deployment: prod", "tag_prefix: acme-x\ndeployment: prod"),
    ("1:13: deployment: must be 1 to 32 characters of a-z, 0-9 and hyphen", "prod", "Prod"),
    ("1:12: deployment: must be a string, in quotes", "deployment: prod", "deployment:"),
    ("3:3: accounts: a key must be a string, in quotes", f'"{A}": {{', f"{A}: {{"),
    ("3:3: accounts: '12345678901234' must be an account uid: 15", f'"{A}"', '"12345678901234"'),
    (f"4:3: accounts.{B}: has no role, and neither has", f"    role: acs:ram::{B}:role/link-peer\n    external_id: link-peer-local-example\n", ""),
    ("2:1: accounts: exactly one account, the home account, must have no role:", f'  "{A}": {{name: a@aliyun.com}}\n', ""),
    (f"6:11: accounts.{B}.role:", f"ram::{B}", f"ram::{A}"),
    (f"6:11: accounts.{B}.role: must be acs:ram::<uid>:role/<name>", f"acs:ram::{B}:role/link-peer", "link-peer"),
    (f"4:3: accounts.{B}: a role needs an external_id: add the one in", "    external_id: link-peer-local-example\n", ""),
    (f"3:46: accounts.{A}.external_id: is only for a role: add", "{name: a@aliyun.com}", "{name: a, external_id: xy}"),
    (f"7:18: accounts.{B}.external_id: must be 2 to 1224", "link-peer-local-example", "x", "a b"),
    ("10:14: accept_tags: must be true or false", "accept_tags: true", "accept_tags: yes"),
    ("16:9: paused: must be true, false or opening", "paused: false", 'paused: "false"', "paused: closing", "paused: Opening", "paused: off"),
    ("17:9: mutual: must be allow or deny", "paused: false", "paused: false\nmutual: false", "paused: false\nmutual: Deny"),
    ("12:12: allow[0].from: 'app' is not one of the policy's names: add it under", f"sg-app@{A}", "app"),
    ("12:12: allow[0].from: must be *@<uid>, sg-…@<uid>, i-…@<uid>, set:<name> or a name", f"sg-app@{A}", "sg-app", "tcp"),
    ("13:12: allow[1].from: account 1000000000000003 is not listed: add it under", f"*@{B}", "*@1000000000000003"),
    ("12:69: allow[0].ports: must not be empty: list the ports, or leave `ports`", "[tcp/443, tcp/1-9, tcp/443]", "[]"),
    ("12:86: allow[0].ports[1]: 'tcp/9-1' is not a port such as tcp/3306, tcp/8000-8010, udp/53", "tcp/1-9", "tcp/9-1"),
    ("14:1: deny: must be a mapping (`key: value`)", "{ports: [tcp/22, icmp]}", "[tcp/22]"),
    (f"3:30: accounts.{A}.name: must be 1 to 128 characters", "a@aliyun.com", '""', "x" * 129),
    ("15:69: limits.max_days: must be a whole number from 1 to 3650, or null", "max_days: 90", "max_days: 0", "max_days: ~", 'max_days: "null"'),
    (f"8:13: accounts.{B}.ranges: must be a list (`[…]`)", "[10.20.0.0/16, 192.168.0.1/32]", "10.20.0.0/16"),
    (f"8:5: accounts.{B}.ranges: must not be empty: list the", "[10.20.0.0/16, 192.168.0.1/32]", "[]"),
    (f"8:14: accounts.{B}.ranges[0]: must be an IPv4 network", "10.20.0.0/16", '""', "10.20.0.0/255.255.0.0", '"fd00::/8"'),
    (f"8:14: accounts.{B}.ranges[0]: '10.20.0.1/16' is not an IPv4", "10.20.0.0/16", "10.20.0.1/16"),
    (f"8:28: accounts.{B}.ranges[1]: '192.168.0.1/24' is not an IPv4", "192.168.0.1/32", "192.168.0.1/24"),
    (f"9:12: accounts.{B}.queue: must be a queue name: 1 to", "link-peer-requests-b", '""', "x" * 121, "link_peer", "queues/b"),
    (f"9:14: accounts.{B}.flowlog: must be <project>/<logstore>", "queue: link-peer-requests-b", "flowlog: logs", "flowlog: A-b/flows", "flowlog: a/flows", "flowlog: logs/F"),
    (f"9:12: accounts.{B}.queue: link-peer-requests-b is already the", "{name: a@aliyun.com}", "{queue: link-peer-requests-b}"),
    ("13:70: allow[1].until: must be an RFC 3339 instant", ".5+08:00", ""),
    ("13:70: allow[1].until: '2027-02-30T08:00:00.5+08:00' is not an RFC 3339", "2027-01-01T", "2027-02-30T"),
    ("17:1: tests: must be a list (`[…]`)", "tests:\n  - {", "tests:\n  {"),
    ("18:5: tests[0]: `from` is missing: add it", f'  - {{from: "sg-app@{A}", accept', "  - {accept"),
    ("18:88: tests[0].accept[1]: must be sg-…@<uid>, i-…@<uid> or a name", f"sg-log@{B}", f"*@{B}", "sg-log"),
    ("18:123: tests[0].deny[0]: must be sg-…@<uid>, i-…@<uid> or a name", f"sg-db@{B}:tcp/22", f"sg-db@{B}:tcp/0", f"sg-db@{B}:"),
    (f"3:24: accounts.{A}.ranges: 10.20.1.0/24 of {A}", "{name: a@aliyun.com}", "{ranges: [10.16.0.0/24, 10.20.1.0/24]}"),
    ("3:23: anchors and aliases are not allowed: write the value out", "{name: a@", "&a {name: a@"),
    ("3:23: anchors and aliases are not allowed: write the value out", "{name: a@aliyun.com}", "*a"),
    ("16:1: a value with special characters: write it in quotes", "paused: false", "<<: {paused: false}"),
    ("1:13: YAML tags are not allowed: remove the `!…`", "prod", "!!python/name:os.system x"),
    ("16:1: a key must be a string, in quotes where YAML reads it otherwise", "paused: false", "[paused]: false"),
    ("16:10: a value of more than one line, or in block style: write it on one", "paused: false", "paused: [false"),
    ("16:9: not valid YAML: ", "paused: false", "paused: `x", "paused: ]"),
    ("16:1: not valid YAML: expected <block end>, but found '-'", "paused: false", "- x"),
)
CHANGED_GUARDED = (
    ("2:54: never[0]: unknown key 'until'", "ports: [tcp/22]", "until: x"),
    ("2:9: never[0]: `from` is missing: add it", f'from: "*@{B}", ', ""),
    ("2:42: never[0].to: 'set:dev' is not one of the policy's sets: add it under sets", 'to: "set:prod"', 'to: "set:dev"'),
    ("2:42: never[0].to: 'other' is not one of the policy's names: add it under names", 'to: "set:prod"', 'to: "other"'),
    ("2:42: never[0].to: must be *@<uid>, sg-…@<uid>, i-…@<uid>, set:<name> or a name", 'to: "set:prod"', f'to: "ledger@{B}"'),
    ("21:88: tests[0].accept[1]: must be sg-…@<uid>, i-…@<uid> or a name", f'"sg-log@{B}"', '"set:prod"'),
    ("1:87: sets.b.account: must be an account uid: 15 to 20 digits, in quotes", f'b: {{account: "{B}"', 'b: {account: "x"'),
    ("1:87: sets.b.account: account 1000000000000003 is not listed", f'b: {{account: "{B}"', 'b: {account: "1000000000000003"'),
    ("1:44: sets.prod.tags: must be 1 to 5 tags that its groups carry", "{env: prod, tier: db}", "{}"),
    ("1:75: sets.prod.tags.link-accept: begins with link-, as the tags of", "tier:", "link-accept:"),
    ("1:62: sets.prod.tags: 't*' must be a tag key: 1 to 128", "tier:", '"t*":'),
    ("1:44: sets.prod.tags: must be 1 to 5 tags that its groups carry", "tier: db", "a: a, b: b, c: c, d: d, e: e"),
    ("1:107: sets.b.tags: more than 5 different keys in all sets", "{env: prod}", "{a: a, b: b, c: c, d: d}"),
    ("1:8: sets: 'Prod' must be 1 to 32 characters", "{prod: {", "{Prod: {"),
    ("3:9: names: 'sg-db' must be 1 to 32 characters", "ledger:", "sg-db:"),
    ("3:9: names: 'i-db' must be 1 to 32 characters", "ledger:", "i-db:"),
    ("3:9: names: 'tcp' must be 1 to 32 characters", "ledger:", "tcp:"),
    ("3:50: names.app-1: must be sg-…@<uid> or i-…@<uid>", f"i-app@{A}", "i-app"),
)
WHOLE = (
    (f"4:3: accounts.{B}: has no role, and neither has", GOOD.replace('    role: ', '    # role: ').replace('    external_id: ', '    # external_id: ')),
    ("2:1: accounts: must not be empty: exactly one account, the home account,", 'deployment: d\naccounts: {}\n'),
    ("3:8: allow: must be a list (`[…]`)", 'deployment: d\naccounts: {}\nallow: sg-a\n'.replace('{}', f'{{"{A}": {{name: a}}}}')),
    ("19:5: tests[1]: tests nothing: list links under `accept` or `deny`", GOOD + f'  - {{from: "sg-app@{A}", deny: []}}\n'),
    ("19:12: tests[1].from: must be sg-…@<uid>, i-…@<uid> or a name", GOOD + f'  - {{from: "*@{A}", deny: ["sg-a@{B}"]}}\n'),
    (f"3:24: accounts.{A}.ranges: 10.20.0.0/30 of {A}", changed('{name: a@aliyun.com}', '{ranges: [10.20.0.0/30]}').replace('10.20.0.0/16,', '10.0.0.0/8, 10.19.0.0/16,')),
    ("19:1: a second YAML document: only one is allowed", GOOD + '---\na: 1\n'),
    ("1:1: must be a mapping (`key: value`)", '- deployment\n'),
    ("1:1: the file is empty: add `deployment` and `accounts`", '# nothing\n'),
    ("1:13: a value of more than one line, or in block style", "deployment: |"),
    ("1:11: nested too deeply", 'a: ' + '[' * 500 + '\n'),
    ("1:1: longer than 256 KB: split the deployment", padded(2**18 + 1)),
)
# fmt: on
REFUSED = [
    *((refusal, changed(old, new)) for refusal, old, *texts in CHANGED for new in texts),
    *((refusal, guarded(old, new)) for refusal, old, *texts in CHANGED_GUARDED for new in texts),
    *WHOLE,
]


@pytest.mark.parametrize(("refusal", "text"), REFUSED)
def test_a_file_that_does_not_match_the_schema_is_refused_at_its_place(refusal: str, text: str) -> None:
    """The message starts with file, line and column, then says where and what to do."""
    with pytest.raises(PolicyError, match=re.escape(f"peers.yaml:{refusal}")):
        parse(text, "peers.yaml")


@pytest.mark.parametrize("external_id", ['"a b c secret"', "20261125"], ids=["invalid characters", "not a string"])
def test_an_external_id_is_never_repeated_in_a_message(external_id: str) -> None:
    """It is a secret, and messages are logged."""
    with pytest.raises(PolicyError) as caught:
        parse(changed("link-peer-local-example", external_id))
    assert external_id.strip('"') not in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused_at_its_place(tmp_path: Path) -> None:
    """The name in the message is the file's own."""
    path = tmp_path / "mine.yaml"
    for text, place in (("deployment: prod\n# 财: ", "2:6"), ("\n", "2:1"), ("", "1:1")):
        path.write_bytes(text.encode() + b"\xff\n")
        with pytest.raises(PolicyError, match=rf"^mine\.yaml:{place}: not UTF-8"):
            load(path)


# what is shown is what is loaded

HIDDEN = {
    "\u0085": "NEXT LINE", "\u2028": "LINE SEPARATOR", "\u2029": "PARAGRAPH SEPARATOR", "\r": "CARRIAGE RETURN without",
    "\t": "TAB", "\x07": "a control", "\x0b": "a control", "\x7f": "a control", "\u202e": "RIGHT-TO-LEFT OVERRIDE",
    "\u2066": "LEFT-TO-RIGHT ISOLATE", "\u05d0": "HEBREW LETTER ALEF", "\u200b": "ZERO WIDTH SPACE",
    "\u200d": "ZERO WIDTH JOINER", "\ufeff": "ZERO WIDTH NO-BREAK SPACE", "\u00ad": "SOFT HYPHEN",
    "\u00a0": "NO-BREAK SPACE", "\u3000": "IDEOGRAPHIC SPACE", "\u034f": "COMBINING GRAPHEME JOINER",
    "\u0338": "COMBINING LONG SOLIDUS OVERLAY", "\ufe0f": "VARIATION SELECTOR-16", "\u3164": "HANGUL FILLER",
    "\u2800": "BRAILLE PATTERN BLANK", "\ue000": "a control or unassigned", "\U000e0041": "TAG LATIN CAPITAL LETTER A",
    "\ud800": "a control or unassigned",
}  # fmt: skip
ALL = f'allow: [{{from: "*@{B}", to: "*@{A}"}}]'


@pytest.mark.parametrize(("char", "char_name"), HIDDEN.items(), ids=[f"U+{ord(char):04X}" for char in HIDDEN])
def test_a_character_that_can_hide_something_is_refused_wherever_it_stands(char: str, char_name: str) -> None:
    """In a comment, where some of them end the line for YAML alone; at the start of the file; and in quotes."""
    comment = f"paused: false  # see NET-221{char}{ALL}"
    for text, place in (
        (changed("paused: false", comment), "16:29"),
        (char + GOOD, "1:1"),
        (changed("a@aliyun.com", f'"a{char}"'), "3:32"),
    ):
        with pytest.raises(PolicyError, match=rf"^p:{place}: U\+{ord(char):04X} {char_name}.*: not allowed"):
            parse(text, "p")


# fmt: off
SHOWN_OTHERWISE = (
    ("3:30: a backslash in double quotes", "a@aliyun.com", r'"\x61"', r'"a\u2028"', r'"\""'),
    ("16:9: a value of more than one line", "paused: false", "paused: |\n  false", "paused: >-\n  false", "paused: opening\n  x"),
    ("16:9: a value of more than one line", "paused: false", "paused: 'opening\n  x'", "paused: |"),
    ("16:1: `?` is not allowed", "paused: false", "? paused\n: false"),
    ("2:11: `?` is not allowed", "accounts:", "x: {a: 1, ? b : 2}\naccounts:"),
    ("1:1: YAML directives are not allowed", "deployment:", "%YAML 1.1\n---\ndeployment:"),
    ("2:1: `...` ends a YAML document", "accounts:", "...\naccounts:"),
    ("16:8: more than 40 spaces in a row", "paused: false", "paused:" + " " * 41 + "false", "paused:" + " " * 300 + "# x"),
    ("17:1: not indented, although a", "paused: false", 'deny: {ports: [tcp/22, # x\n"tcp/23"]}', "deny: {\nports: []}"),
    ("4:3: not indented, although a", "a@aliyun.com", "\n  a@aliyun.com"),
    ("16:22: a `#` begins a comment only after a space", "paused: false", 'deny: {ports: ["22"]}# x', 'deny: {ports: ["icmp"#, "tcp/22"\n  ]}'),
    ("3:30: a value with special characters", "a@aliyun.com", "a#b", 'a"b', "a'b", "a&b"),
    ("3:31: U+FF1A FULLWIDTH COLON in a value", "a@aliyun.com", "a：b"),
    ("3:32: U+201D RIGHT DOUBLE QUOTATION MARK in a value", "a@aliyun.com", '"a” #"'),
    ("3:32: U+FF03 FULLWIDTH NUMBER SIGN in a value", "a@aliyun.com", "'a＃'"),
    ("3:31: U+0430 CYRILLIC SMALL LETTER A in a value", "a@aliyun.com", "'\u0430'"),
    ("3:31: U+212A KELVIN SIGN in a value", "a@aliyun.com", "'\u212a'"),
    ("3:31: U+3001 IDEOGRAPHIC COMMA in a value", "a@aliyun.com", "a、b"),
)
# fmt: on


@pytest.mark.parametrize(
    ("refusal", "text"), [(refusal, changed(old, new)) for refusal, old, *news in SHOWN_OTHERWISE for new in news]
)
def test_what_a_reader_would_take_for_something_else_is_refused(refusal: str, text: str) -> None:
    """Escapes, folded values, look-alikes, and what stands out of sight or at another depth than it seems."""
    with pytest.raises(PolicyError, match=re.escape(f"p:{refusal}")):
        parse(text, "p")


def test_what_is_clear_to_read_is_read() -> None:
    """Accents, CJK, quotes in quotes; a list over several lines; the line ends of Windows; any language in a
    comment."""
    for name in ("财务", "Café", """'a "b" \\ #'""", '"it\'s"', "'it''s'"):
        read = parse(changed("a@aliyun.com", name)).accounts[A].name
        assert read == {"'it''s'": "it's"}.get(name, name.strip("'\"")), name
    comments = GOOD.replace("\n", " " * 50 + "\n", 1) + "# комментарий：“注释” …\n"
    lines = changed("{ports: [tcp/22, icmp]}", "{\n  ports: [\n  tcp/22,  # why\n  icmp,\n]}", comments)
    assert parse(lines) == parse("---\n" + lines.replace("\n", "\r\n")) == parse(GOOD)
    assert parse(changed("paused:", "paused:" + " " * 39)) == parse(padded(2**18)) == parse(GOOD)


def without_comments(text: str) -> str:
    """As an editor shows them: from a # that begins a word outside quotes to the end of the line."""
    return "\n".join(
        re.match(r"""(?:'[^']*'|"[^"]*"|(?<![^ ])(?!#)[^'"]|(?<=[^ ])[^'"]|['"])*""", line)[0]
        for line in text.split("\n")
    )  # type: ignore[index]


PIECES = [*HIDDEN, *"\n#'\"|>?:,[]{}&*!%\\-~ ：＃…", " # ", "\n# ", "\r\n", "\n  ", "---\n", "%YAML 1.1\n"]
PIECES += [" " * 41, ALL, f"\n{ALL}\n", f"{A}: {{}}", "null", "010", "1e3", "yes", "<<: ", "!!str ", "2026-01-01"]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.lists(st.sampled_from(PIECES) | st.characters(), max_size=4)),
        max_size=3,
    ),
    st.integers(0, 6),
)
def test_a_damaged_file_is_refused_or_says_what_it_shows(places: list[tuple[int, list[str]]], cut: int) -> None:
    """Whatever is written into a good file. What is read is the same without what an editor shows as comments."""
    text = GOOD
    for place, pieces in places:
        text = text[:place] + "".join(pieces) + text[place + cut :]
    refusal = ""
    try:
        policy = parse(text)
    except PolicyError as error:
        refusal = str(error)
    assert refusal.isprintable()
    if refusal:
        return
    assert parse(without_comments(text)) == policy
    assert [uid for uid, account in policy.accounts.items() if account.role is None] == [policy.home]


# the compiled policy of the package


@pytest.fixture(name="packaged")
def _packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The policy file of a package."""
    path = tmp_path / policy_file.NAME
    path.write_text(GUARDED, encoding="utf-8")
    monkeypatch.setattr(policy_file, "LIBRARY", tmp_path / "link_peer")
    (tmp_path / policy_file.HANDLER).touch()
    (tmp_path / policy_file.COMPILED).write_bytes(policy_file.compiled_form(path.read_bytes()))
    return path


def test_the_compiled_policy_is_the_policy(packaged: Path, mocker: MockerFixture) -> None:
    """Every value, without a look at the YAML."""
    digest = hashlib.sha256(packaged.read_bytes()).hexdigest()[:16]
    expected = msgspec.structs.replace(parse(GUARDED), digest=digest)
    mocker.patch.object(policy_file, "parse", side_effect=AssertionError("the file was parsed"))
    assert load(packaged) == expected


def test_a_policy_that_was_edited_after_packaging_is_read_itself(packaged: Path) -> None:
    """The compiled form stands for its own text alone."""
    packaged.write_text(changed("paused: false", "paused: true"), encoding="utf-8")
    assert load(packaged).paused is Pause.ALL
    packaged.write_text(changed("paused: false", "paused: maybe"), encoding="utf-8")
    with pytest.raises(PolicyError, match="paused"):
        load(packaged)
    (packaged.parent / policy_file.COMPILED).write_bytes(b'{"digest": 1}')
    packaged.write_text(GOOD, encoding="utf-8")
    assert load(packaged).paused is Pause.NONE


def test_a_compiled_policy_stands_for_no_other_file(packaged: Path, tmp_path: Path) -> None:
    """Of the same text under another name, as LINK_PEER_POLICY may give; nor does one that lies beside that file."""
    other_file = tmp_path / "other" / policy_file.NAME
    other_file.parent.mkdir()
    other_file.write_bytes(packaged.read_bytes())
    for folder in (packaged.parent, other_file.parent):
        (folder / policy_file.COMPILED).write_bytes(wider(packaged))
    assert load(other_file).allow == parse(GUARDED).allow


def wider(path: Path) -> bytes:
    """The compiled form of another policy, with the digest of this text."""
    form = json.loads(policy_file.compiled_form(path.read_bytes()))
    form["policy"] |= {"allow": [], "never": []}
    return json.dumps(form).encode()


def test_a_compiled_policy_agrees_with_its_text_alone(packaged: Path) -> None:
    raw, compiled = packaged.read_bytes(), (packaged.parent / policy_file.COMPILED).read_bytes()
    assert policy_file.agree(raw, compiled)
    for text, form in ((raw + b"#", compiled), (raw, wider(packaged)), (raw, b"{}"), (raw, b"")):
        assert not policy_file.agree(text, form)


@pytest.mark.parametrize(
    "place", ["policy.compiled.json", "lib/policy.compiled.json", "lib/link_peer/policy.compiled.json"]
)
def test_a_compiled_policy_outside_a_package_is_refused(
    packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """In a checkout or a wheel it would be a second policy, which nobody reviews. With the digest of the text, too."""
    form = wider(packaged)
    (tmp_path / policy_file.COMPILED).unlink()
    monkeypatch.setattr(policy_file, "LIBRARY", tmp_path / "lib" / "link_peer")
    policy_file.LIBRARY.mkdir(parents=True)
    assert load(packaged).allow
    (tmp_path / place).write_bytes(form)
    with pytest.raises(PolicyError, match=r"policy\.compiled\.json: only a package has a compiled policy.*delete it"):
        load(packaged)


def test_the_library_is_the_folder_that_a_package_has_beside_the_policy() -> None:
    assert policy_file.LIBRARY == ROOT / "shared" / "link_peer"


def test_an_invalid_policy_is_not_compiled() -> None:
    with pytest.raises(PolicyError, match=r"policy\.yaml:1:13: deployment"):
        policy_file.compiled_form(changed("deployment: prod", "deployment: PROD").encode())


REPEATED = [
    "[",
    "{",
    "- ",
    "[a: ",
    "{a: ",
    "? ",
    "[x], ",
    "{x: 1}, ",
    "]",
    "a: &x ",
    "a:\n",
    "x, ",
    "'a'\n ",
    "a: b\n",
    "# a\n",
    " \n",
]


def _steps(text: str) -> int:
    """How many lines of Python run while a policy file is read."""
    steps = 0

    def count(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal steps
        steps += event == "line"
        return count

    parse.cache_clear()
    outer = sys.gettrace()
    sys.settrace(count)
    try:
        with contextlib.suppress(PolicyError):
            parse(text)
    finally:
        sys.settrace(outer)
    return steps


@pytest.mark.exhaustive
@pytest.mark.parametrize(("start", "part"), sample(itertools.product(["", "a: ", "a: [", "a: {b: "], REPEATED), 3))
def test_the_cost_of_a_text_grows_with_its_size_alone(start: str, part: str) -> None:
    """Any pull request may bring a file. PyYAML looks at each open bracket for each token, over 1,024 characters, so
    that 4 KB of brackets ran two hundred times as many lines as 4 KB of entries."""
    small, large = (_steps(start + part * (size // len(part))) for size in (1024, 4096))
    assert large <= 4.5 * small + 2000
    assert large <= 400 * 4096


def test_a_text_that_is_nested_too_deeply_is_not_scanned_to_its_end() -> None:
    """Its cost does not depend on its size."""
    assert _steps("a: " + "[" * 2**12) == _steps("a: " + "[" * 2**10)


def test_a_run_of_spaces_is_looked_at_once() -> None:
    """From its start alone, not from each of its spaces."""
    text = "a" + " " * 100 + "x"
    starts = [at for at in range(len(text)) if yaml_reader._RUN.match(text, at)]
    assert starts == [1]
