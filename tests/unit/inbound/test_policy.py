"""The policy file: read strictly, and every refusal names the file, the line and what to do."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from string import Template

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_peer.domain.errors import PolicyError
from link_peer.domain.model import Party, Port
from link_peer.domain.policy import GroupSet, Limits, Pause, PolicyTest
from link_peer.domain.tags import Who
from link_peer.inbound import policy_file
from link_peer.inbound.policy_file import MAX_BYTES, load, parse
from pytest_mock import MockerFixture

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


def guarded(old: str, new: str) -> str:
    return changed(old, new, GUARDED)


def test_guardrails_sets_and_names_are_read() -> None:
    """A set is of one account, and stands for a group of it; the keys of sets are tags that count."""
    policy = parse(guarded(f'to: "sg-db@{B}"', 'to: "set:b"'))
    ssh, rest = policy.never
    assert (ssh.source, ssh.target, ssh.ports) == (Who(B, "*"), Who(A, "set:prod"), (Port("tcp", 22, 22),))
    assert (rest.source, rest.target, rest.ports) == (Who(B, "set:b"), Who(A, "i-db"), ())
    assert (ssh.text, rest.text) == (f"never=*@{B}->set:prod:tcp/22", f"never=set:b->i-db@{A}")
    assert policy.allow[0].target == Who(B, "set:b")
    assert policy.sets == {"prod": GroupSet(A, {"env": "prod", "tier": "db"}), "b": GroupSet(B, {"env": "prod"})}
    assert policy.names == {"ledger": Party(B, "sg-db"), "app-1": Party(A, "i-app")}
    assert len(parse(guarded("tier: db", "a: a, b: b, c: c, d: d")).keys.sets) == 5
    assert (policy.keys.sets, policy.keys.names) == (("env", "tier"), policy.names)


def test_every_part_of_the_file_is_read() -> None:
    """The example of the contract's form gives the values it names."""
    policy = parse(GOOD)
    assert policy.deployment == "prod"
    assert policy.accounts[A].role is None
    assert policy.accounts[B].role == f"acs:ram::{B}:role/link-peer"
    assert policy.accounts[B].external_id == "link-peer-local-example"
    assert policy.accept_tags is True
    assert policy.deny == (Port("icmp"), Port("tcp", 22, 22))
    assert policy.limits == Limits(removals_per_run=0, max_ports=2, max_peers=3, max_days=90)
    assert policy.paused is Pause.NONE
    assert policy.accounts[B].ranges == ("10.20.0.0/16", "192.168.0.1/32")
    assert (policy.accounts[A].ranges, policy.accounts[A].queue) == ((), "")
    assert policy.bound_queues == {"link-peer-requests-b": B}
    app, anything = policy.allow
    assert (app.source, app.target) == (Who(A, "sg-app"), Who(B, "sg-db"))
    assert app.ports == (Port("tcp", 1, 9), Port("tcp", 443, 443))
    assert app.text == f"allow=sg-app@{A}->sg-db@{B}:tcp/1-9+tcp/443"
    assert (anything.source, anything.target, anything.ports) == (Who(B, "*"), Who(A, "i-db"), ())
    assert anything.text == f"allow=*@{B}->i-db@{A}~20270101T000000Z"
    assert (app.until, anything.until) == (None, 1798761600)
    database, ports = Who(B, "sg-db"), (Port("icmp"), Port("tcp", 3306, 3306))
    assert policy.tests == (
        PolicyTest(
            Who(A, "sg-app"),
            ((database, ports), (Who(B, "sg-log"), ())),
            ((database, (Port("tcp", 22, 22),)),),
        ),
    )


@pytest.mark.parametrize("length", [1, 128])
def test_a_name_has_up_to_128_characters(length: int) -> None:
    assert parse(changed("name: a@aliyun.com", f"name: {'x' * length}")).accounts[A].name == "x" * length


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
    """The lowest of removals is none at all. What is beyond is refused with its line: it would fail later, for every request."""
    line = "limits: {removals_per_run: 0, max_ports: 2, max_peers: 3, max_days: 90}"
    for good, bad in ((lowest, lowest - 1), (highest, highest + 1), (highest, 9_999_999)):
        assert getattr(parse(changed(line, f"limits: {{{limit}: {good}}}")).limits, limit) == good
        fault = rf":15: limits\.{limit}: must be a whole number from {lowest} to {highest}"
        with pytest.raises(PolicyError, match=fault):
            parse(changed(line, f"limits: {{{limit}: {bad}}}"))


def test_home_may_have_ranges_and_a_queue_too() -> None:
    """They need no role."""
    account = parse(changed("{name: a@aliyun.com}", "{ranges: [10.0.0.0/12], queue: Q-1}")).accounts[A]
    assert (account.ranges, account.queue, account.role) == (("10.0.0.0/12",), "Q-1", None)


@pytest.mark.parametrize(
    ("text", "pause"),
    [("true", Pause.ALL), ("false", Pause.NONE), ("opening", Pause.OPENING), ('"opening"', Pause.OPENING)],
)
def test_everything_or_only_opening_can_be_paused(text: str, pause: Pause) -> None:
    """Or nothing."""
    assert parse(changed("paused: false", f"paused: {text}")).paused is pause


@pytest.mark.parametrize("limit", ["max_days", "max_days_tags"])
def test_a_limit_of_days_may_be_null(limit: str) -> None:
    """As it is if it is left out: links need no end."""
    assert getattr(parse(changed("max_days: 90", f"{limit}: null")).limits, limit) is None
    assert getattr(parse(changed(", max_days: 90", "")).limits, limit) is None
    assert getattr(parse(changed("max_days: 90", f"{limit}: 1")).limits, limit) == 1


def test_a_test_needs_links_of_one_kind_only() -> None:
    """That are accepted, or that are denied."""
    head = changed("tests:\n", "tests:\n  # one\n").partition("  # one")[0]
    (only_accept,) = parse(f'{head}  - {{from: "i-a@{A}", accept: ["i-b@{B}:udp/53"]}}\n').tests
    assert only_accept == PolicyTest(Who(A, "i-a"), ((Who(B, "i-b"), (Port("udp", 53, 53),)),))
    (only_deny,) = parse(f'{head}  - {{from: "i-a@{A}", deny: ["i-b@{B}"]}}\n').tests
    assert only_deny == PolicyTest(Who(A, "i-a"), (), ((Who(B, "i-b"), ()),))


def test_home_is_the_account_without_a_role() -> None:
    """Wherever it stands in the file."""
    assert parse(GOOD).home == A
    with_role = f'"{B}": {{name: x, role: "acs:ram::{B}:role/r", external_id: ab}}'
    assert parse(f'deployment: d\naccounts: {{{with_role}, "{A}": {{name: h}}}}').home == A


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
    assert (policy.allow, policy.deny, policy.paused) == ((), (), Pause.NONE)


REFUSED = {
    "no account without a role": (
        changed("{name: a@aliyun.com}", f'{{role: "acs:ram::{A}:role/r", external_id: ab}}'),
        3,
        "accounts: exactly one account, the home account, must have no role: add the function's own account",
    ),
    "two accounts without a role": (
        GOOD.replace("    role: ", "    # role: ").replace("    external_id: ", "    # external_id: "),
        4,
        f"has no role, and neither has {A}: exactly one account, the home account, must have no role",
    ),
    "unknown key": (
        changed("paused:", "pause:"),
        16,
        "unknown key 'pause': the known keys are deployment, accounts, tag_prefix, accept_tags",
    ),
    "unknown key of an account": (changed("    name: b@", "    alias: b@"), 5, "unknown key 'alias'"),
    "unknown key of an allow entry": (changed('to: "sg-db', 'too: "sg-db'), 12, "unknown key 'too'"),
    "unknown limit": (changed("max_ports: 2", "max_port: 2"), 15, "unknown key 'max_port'"),
    "a key twice": (changed("paused: false", "accept_tags: false"), 16, "duplicate key 'accept_tags': keep one"),
    "an account twice": (changed(f'"{B}":', f"'{A}':"), 4, f"duplicate key '{A}'"),
    "no deployment": (changed("deployment: prod\n", ""), 1, "`deployment` is missing"),
    "tag prefix with a hyphen": (
        changed("deployment: prod", "tag_prefix: acme-x\ndeployment: prod"),
        1,
        "tag_prefix: must be 1 to 16 characters of a-z and 0-9, beginning with a letter",
    ),
    "tag prefix empty": (
        changed("deployment: prod", "tag_prefix: ''\ndeployment: prod"),
        1,
        "tag_prefix: must be 1 to 16",
    ),
    "deployment in capitals": (changed("prod", "Prod"), 1, "deployment: must be 1 to 32 characters of a-z"),
    "deployment a number": (changed("prod", "12"), 1, "deployment: must be a string, in quotes"),
    "deployment empty": (changed("deployment: prod", "deployment:"), 1, "deployment: must be a string, in quotes"),
    "deployment a list": (changed("prod", "[prod]"), 1, "deployment: must be a string, in quotes"),
    "uid without quotes": (changed(f'"{A}": {{', f"{A}: {{"), 3, f"accounts['{A}']: must be a string, in quotes"),
    "uid too short": (changed(f'"{A}"', '"12345678901234"'), 3, "is not an account uid: 15 to 20 digits"),
    "uid in other digits": (changed(f'"{A}"', '"１000000000000001"'), 3, "is not an account uid"),
    "two homes": (
        changed(f"    role: acs:ram::{B}:role/link-peer\n    external_id: link-peer-local-example\n", ""),
        4,
        "exactly one account",
    ),
    "no home": (
        changed(f'  "{A}": {{name: a@aliyun.com}}\n', ""),
        3,
        "exactly one account, the home account, must have no role",
    ),
    "no accounts": ("deployment: d\naccounts: {}\n", 2, "exactly one account"),
    "role of another account": (changed(f"ram::{B}", f"ram::{A}"), 6, f"is not acs:ram::{B}:role/<name>"),
    "role that is no ARN": (changed(f"acs:ram::{B}:role/link-peer", "link-peer"), 6, "role/<name>"),
    "role without external id": (
        changed("    external_id: link-peer-local-example\n", ""),
        5,
        "a role needs an external_id",
    ),
    "external id without role": (
        changed("{name: a@aliyun.com}", "{name: a, external_id: xy}"),
        3,
        "is only for a role",
    ),
    "external id too short": (changed("link-peer-local-example", "x"), 7, "external_id: must be 2 to 1224"),
    "external id with a space": (changed("link-peer-local-example", "a b"), 7, "external_id: must be 2 to 1224"),
    "name with control characters": (changed("a@aliyun.com", '"a\\tb"'), 3, "printable"),
    "yes for true": (changed("accept_tags: true", "accept_tags: yes"), 10, "accept_tags: must be true or false"),
    "a quoted boolean": (changed("paused: false", 'paused: "false"'), 16, "paused: must be true, false or opening"),
    "allow a text": (
        "deployment: d\naccounts: {}\nallow: sg-a\n".replace("{}", f'{{"{A}": {{name: a}}}}'),
        3,
        "must be a list",
    ),
    "allow without account": (changed(f"sg-app@{A}", "sg-app"), 12, "allow[0].from: 'sg-app' is not *@<uid>"),
    "allow of an account not listed": (
        changed(f"*@{B}", "*@1000000000000003"),
        13,
        "allow[1].from: account 1000000000000003 is not listed",
    ),
    "allow without ports": (changed("[tcp/443, tcp/1-9, tcp/443]", "[]"), 12, "leave `ports` out to allow everything"),
    "allow port wrong": (changed("tcp/1-9", "tcp/9-1"), 12, "allow[0].ports[1]: 'tcp/9-1' is not"),
    "deny a list": (changed("{ports: [tcp/22, icmp]}", "[tcp/22]"), 14, "deny: must be a mapping"),
    "deny port a number": (changed("tcp/22", "22"), 14, "deny.ports[0]: must be a string, in quotes"),
    "name empty": (changed("name: a@aliyun.com", 'name: ""'), 3, "1 to 128 printable"),
    "name too long": (changed("name: a@aliyun.com", f"name: {'x' * 129}"), 3, "1 to 128 printable"),
    "limit zero": (changed("max_ports: 2", "max_ports: 0"), 15, "limits.max_ports: must be a whole number from 1 to"),
    "limit negative": (changed("removals_per_run: 0", "removals_per_run: -1"), 15, "must be a whole number from 0 to"),
    "limit octal": (changed("max_ports: 2", "max_ports: 010"), 15, "must be a whole number"),
    "limit text": (changed("max_ports: 2", 'max_ports: "2"'), 15, "must be a whole number"),
    "limit a fraction": (changed("max_ports: 2", "max_ports: 2.5"), 15, "must be a whole number"),
    "limit enormous": (changed("max_ports: 2", "max_ports: " + "9" * 5000), 15, "must be a whole number"),
    "limit of peers zero": (
        changed("max_peers: 3", "max_peers: 0"),
        15,
        "max_peers: must be a whole number from 1 to",
    ),
    "limit of days zero": (
        changed("max_days: 90", "max_days: 0"),
        15,
        "limits.max_days: must be a whole number from 1",
    ),
    "limit of days a tilde": (changed("max_days: 90", "max_days: ~"), 15, "limits.max_days: must be a whole number"),
    "limit of days a quoted null": (changed("max_days: 90", 'max_days: "null"'), 15, "must be a whole number"),
    "another limit null": (changed("max_peers: 3", "max_peers: null"), 15, "max_peers: must be a whole number"),
    "paused closing": (changed("paused: false", "paused: closing"), 16, "paused: must be true, false or opening"),
    "paused in capitals": (changed("paused: false", "paused: Opening"), 16, "paused: must be true, false or opening"),
    "paused off": (changed("paused: false", "paused: off"), 16, "paused: must be true, false or opening"),
    "paused empty": (changed("paused: false", "paused:"), 16, "paused: must be true, false or opening"),
    "ranges a text": (
        changed("[10.20.0.0/16, 192.168.0.1/32]", "10.20.0.0/16"),
        8,
        f"accounts.{B}.ranges: must be a list",
    ),
    "ranges empty": (changed("[10.20.0.0/16, 192.168.0.1/32]", "[]"), 8, "leave `ranges` out to accept every private"),
    "range empty": (changed("10.20.0.0/16", '""'), 8, "is not an IPv4 network"),
    "range with host bits": (
        changed("10.20.0.0/16", "10.20.0.1/16"),
        8,
        "ranges[0]: '10.20.0.1/16' is not an IPv4 network",
    ),
    "range without length": (changed("192.168.0.1/32", "192.168.0.1"), 8, "ranges[1]: '192.168.0.1' is not an IPv4"),
    "range with a netmask": (changed("10.20.0.0/16", "10.20.0.0/255.255.0.0"), 8, "is not an IPv4 network"),
    "range with leading zeros": (changed("10.20.0.0/16", "10.020.0.0/16"), 8, "is not an IPv4 network"),
    "range with a long length": (changed("10.20.0.0/16", "10.20.0.0/016"), 8, "is not an IPv4 network"),
    "range of 33 bits": (changed("10.20.0.0/16", "10.20.0.0/33"), 8, "is not an IPv4 network"),
    "range of IPv6": (changed("10.20.0.0/16", '"fd00::/8"'), 8, "is not an IPv4 network"),
    "range in other digits": (changed("10.20.0.0/16", '"１0.20.0.0/16"'), 8, "is not an IPv4 network"),
    "range a number": (changed("10.20.0.0/16", "10"), 8, "ranges[0]: must be a string, in quotes"),
    "queue empty": (changed("queue: link-peer-requests-b", 'queue: ""'), 9, "queue: '' is not a queue name"),
    "queue too long": (changed("queue: link-peer-requests-b", "queue: " + "x" * 121), 9, "is not a queue name"),
    "queue with an underscore": (changed("link-peer-requests-b", "link_peer"), 9, "is not a queue name: 1 to 120"),
    "queue with a path": (changed("link-peer-requests-b", "queues/b"), 9, "'queues/b' is not a queue name"),
    "queue a number": (changed("link-peer-requests-b", "12"), 9, "queue: must be a string, in quotes"),
    "a queue twice": (
        changed("{name: a@aliyun.com}", "{queue: link-peer-requests-b}"),
        5,
        f"accounts.{B}.queue: link-peer-requests-b is already the queue of {A}",
    ),
    "until a date of YAML": (
        changed('until: "2027-01-01T08:00:00.5+08:00"', "until: 2027-01-01T00:00:00Z"),
        13,
        "allow[1].until: must be a string, in quotes",
    ),
    "until without zone": (changed(".5+08:00", ""), 13, "is not an RFC 3339 instant with a zone"),
    "until no date": (
        changed("2027-01-01T", "2027-02-30T"),
        13,
        "allow[1].until: '2027-02-30T08:00:00.5+08:00' is not",
    ),
    "tests a mapping": (changed("tests:\n  - {", "tests:\n  {"), 18, "tests: must be a list"),
    "test without from": (
        changed(f'  - {{from: "sg-app@{A}", accept', "  - {accept"),
        18,
        "tests[0]: `from` is missing",
    ),
    "test of nothing": (GOOD + f'  - {{from: "sg-app@{A}"}}\n', 19, "tests[1]: tests nothing: list links under"),
    "test of empty lists": (GOOD + f'  - {{from: "sg-app@{A}", deny: []}}\n', 19, "tests[1]: tests nothing"),
    "test from everyone": (
        GOOD + f'  - {{from: "*@{A}", deny: ["sg-a@{B}"]}}\n',
        19,
        "tests[1].from: name one",
    ),
    "test to everyone": (
        changed(f"sg-log@{B}", f"*@{B}"),
        18,
        "tests[0].accept[1]: name one group or instance",
    ),
    "test without account": (changed(f"sg-log@{B}", "sg-log"), 18, "tests[0].accept[1]: 'sg-log' is not *@<uid>"),
    "test of an account not listed": (
        changed(f"sg-log@{B}", "sg-log@1000000000000003"),
        18,
        "tests[0].accept[1]: account 1000000000000003 is not listed",
    ),
    "test of a bad port": (changed(f"sg-db@{B}:tcp/22", f"sg-db@{B}:tcp/0"), 18, "tests[0].deny[0]: 'tcp/0' is not"),
    "test of no port": (changed(f"sg-db@{B}:tcp/22", f"sg-db@{B}:"), 18, "tests[0].deny[0]: '' is not"),
    "test with another key": (changed('deny: ["sg-db', 'denied: ["sg-db'), 18, "unknown key 'denied'"),
    "ranges of two accounts overlap": (
        changed("{name: a@aliyun.com}", "{ranges: [10.16.0.0/24, 10.20.1.0/24]}"),
        3,
        f"10.20.1.0/24 of {A} and 10.20.0.0/16 of {B} overlap: an address must tell its account",
    ),
    "ranges overlap within another": (
        changed("{name: a@aliyun.com}", "{ranges: [10.20.0.0/30]}").replace(
            "10.20.0.0/16,", "10.0.0.0/8, 10.19.0.0/16,"
        ),
        3,
        f"10.20.0.0/30 of {A} and 10.0.0.0/8 of {B} overlap",
    ),
    "never of no ports": (guarded("[tcp/22]", "[]"), 2, "never[0].ports: empty: list the ports, or leave `ports` out"),
    "never with an end": (guarded("ports: [tcp/22]", "until: x"), 2, "unknown key 'until'"),
    "never without from": (guarded(f'from: "*@{B}", ', ""), 2, "never[0]: `from` is missing"),
    "never of a set that is none": (
        guarded('to: "set:prod"', 'to: "set:dev"'),
        2,
        "never[0].to: 'set:dev' is not one of",
    ),
    "never of a name": (guarded('to: "set:prod"', 'to: "ledger"'), 2, "never[0].to: 'ledger' is not *@<uid>"),
    "a test of a set": (changed(f'"sg-log@{B}"', '"set:prod"', GUARDED), 21, "tests[0].accept[1]: 'set' is not"),
    "a set of another account": (
        guarded(f'b: {{account: "{B}"', 'b: {account: "x"'),
        1,
        "sets.b.account: account 'x' is not",
    ),
    "a set without tags": (guarded("{env: prod, tier: db}", "{}"), 1, "sets.prod.tags: empty: name the tags"),
    "a set by a key of ours": (guarded("tier:", "link-accept:"), 1, "sets.prod.tags: 'link-accept' is not 1 to 128"),
    "a set by a pattern": (guarded("tier:", '"t*":'), 1, "sets.prod.tags: 't*' is not 1 to 128 characters"),
    "a set by a number": (guarded("tier: db", "tier: 1"), 1, "sets.prod.tags.tier: must be a string"),
    "sets of many keys": (
        guarded("tier: db", "a: a, b: b, c: c, d: d, e: e"),
        1,
        "more than 5 different keys in all sets",
    ),
    "a set in capitals": (guarded("{prod: {", "{Prod: {"), 1, "sets: 'Prod' must be 1 to 32 characters of a-z"),
    "a name like an id": (guarded("ledger:", "sg-db:"), 3, "names: 'sg-db' must be 1 to 32 characters"),
    "a name like an instance": (guarded("ledger:", "i-db:"), 3, "names: 'i-db' must be 1 to 32 characters"),
    "a name that is a protocol": (guarded("ledger:", "tcp:"), 3, "be no protocol"),
    "a name too long": (guarded("ledger:", f"{'x' * 33}:"), 3, "must be 1 to 32 characters"),
    "a name of everyone": (guarded('ledger: "sg-db', 'ledger: "*'), 3, "names.ledger: name one group"),
    "a name of a group without account": (guarded(f"i-app@{A}", "i-app"), 3, "names.app-1: 'i-app' is not *@<uid>"),
    "anchor": (changed("{name: a@", "&a {name: a@"), 3, "anchors and aliases are not allowed"),
    "alias": (changed("{name: a@aliyun.com}", "*a"), 3, "anchors and aliases are not allowed"),
    "merge key": (changed("paused: false", "<<: {paused: false}"), 16, "unknown key '<<'"),
    "tag": (changed("prod", "!!python/name:os.system x"), 1, "YAML tags are not allowed"),
    "second document": (GOOD + "---\na: 1\n", 19, "a second YAML document"),
    "list at the top": ("- deployment\n", 1, "must be a mapping"),
    "key a list": (changed("paused: false", "[paused]: false"), 16, "a key must be a plain string"),
    "empty": ("# nothing\n", 1, "the file is empty: add"),
    "not YAML": (changed("paused: false", "paused: [false"), 17, "not valid YAML: expected ',' or ']'"),
    "control character after an empty line": ("\n" + changed("paused: false", "paused: \x07"), 17, "does not allow"),
    "control character": (changed("paused: false", "paused: \x07"), 16, "a character that YAML does not allow"),
    "nested deeply": ("a: " + "[" * 5000 + "\n", 1, "nested too deeply"),
    "enormous": ("#" * (MAX_BYTES + 1), 1, "longer than"),
}


@pytest.mark.parametrize(("text", "line", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_does_not_match_the_schema_is_refused_with_its_line(text: str, line: int, problem: str) -> None:
    """The message starts with file and line, then says where and what to do."""
    with pytest.raises(PolicyError) as caught:
        parse(text, "peers.yaml")
    assert str(caught.value).startswith(f"peers.yaml:{line}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("external_id", ['"a b c secret"', "20261125"], ids=["invalid characters", "not a string"])
def test_an_external_id_is_never_repeated_in_a_message(external_id: str) -> None:
    """It is a secret, and messages are logged."""
    with pytest.raises(PolicyError) as caught:
        parse(changed("link-peer-local-example", external_id))
    assert external_id.strip('"') not in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    """The name in the message is the file's own."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"deployment: prod\naccounts: \xff\n")
    with pytest.raises(PolicyError, match=r"^mine\.yaml:2: not UTF-8"):
        load(path)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(0, len(GOOD)), st.text(max_size=6), st.integers(0, 6))
def test_a_damaged_file_is_refused_or_read_but_never_crashes(place: int, inserted: str, cut: int) -> None:
    """Whatever is written over a good file, only PolicyError comes out."""
    with suppress(PolicyError):
        parse(GOOD[:place] + inserted + GOOD[place + cut :])


def test_an_account_needs_no_name() -> None:
    """The name is for people; the uid stands in for it."""
    policy = parse(f'deployment: prod\naccounts: {{"{A}": {{}}}}\n')
    assert policy.accounts[A].name == A
    assert policy.home == A


# the compiled policy of the package


@pytest.fixture(name="packaged")
def _packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy file that is packaged with its compiled form"""
    path = tmp_path / "policy.yaml"
    path.write_text(GUARDED, encoding="utf-8")
    monkeypatch.setattr(policy_file, "COMPILED", tmp_path / policy_file.COMPILED.name)
    policy_file.COMPILED.write_bytes(policy_file.compile_for_package(path))
    return path


def test_the_compiled_policy_is_the_policy(packaged: Path, mocker: MockerFixture) -> None:
    """Every value, without a look at the YAML."""
    digest = hashlib.sha256(packaged.read_bytes()).hexdigest()[:16]
    expected = msgspec.structs.replace(parse(GUARDED), digest=digest)
    mocker.patch.object(policy_file, "parse", side_effect=AssertionError("the file was parsed"))
    assert load(packaged) == expected


def test_a_policy_that_was_edited_after_packaging_is_read_itself(packaged: Path) -> None:
    """In the deployed folder, or with LINK_PEER_POLICY: the compiled form stands for its own file alone."""
    packaged.write_text(changed("paused: false", "paused: true"), encoding="utf-8")
    assert load(packaged).paused is Pause.ALL
    packaged.write_text(changed("paused: false", "paused: maybe"), encoding="utf-8")
    with pytest.raises(PolicyError, match="paused"):
        load(packaged)


def test_an_invalid_policy_is_not_compiled(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(changed("deployment: prod", "deployment: PROD"), encoding="utf-8")
    with pytest.raises(PolicyError, match=r"policy\.yaml:1: deployment"):
        policy_file.compile_for_package(path)


def test_the_sources_have_no_compiled_policy() -> None:
    """It would be one of a file that nobody edits."""
    assert not policy_file.COMPILED.exists()
