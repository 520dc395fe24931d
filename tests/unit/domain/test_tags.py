"""The syntax of tags: which texts are valid, and which are not."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, Port, ports_text
from link_peer.domain.tags import (
    FIELD_LIMIT,
    TAGS,
    Grantee,
    Peer,
    accepts,
    asks_for_links,
    bad_accepts,
    clean,
    compact,
    covers,
    egress_accepts,
    is_account_uid,
    is_interface_id,
    is_name,
    is_tag_prefix,
    iso,
    iso_millis,
    link_until,
    parse_compact,
    parse_instant,
    parse_party,
    parse_peer,
    parse_port,
    parse_ports,
    parse_who,
    peers,
    quoted,
    refusals,
    similar_keys,
    tag_keys,
)

A, B = "1000000000000001", "1000000000000002"
KEYS = tag_keys("link", "prod", A)
PROTOCOLS = ["tcp", "udp", "icmp", "icmpv6", "gre", "all"]
quick = settings(max_examples=60, derandomize=True, deadline=None)

port_values = st.one_of(
    st.just(Port("icmp")),
    st.builds(
        lambda protocol, ends: Port(protocol, min(ends), max(ends)),
        st.sampled_from(["tcp", "udp"]),
        st.tuples(st.integers(1, 300), st.integers(1, 300)),
    ),
)


def test_the_policy_file_must_write_the_account() -> None:
    """It has no own account that a bare name could mean. A set of groups is written with none."""
    assert [str(Grantee(B, name)) for name in ("sg-app", "*", "set:prod")] == [f"sg-app@{B}", f"*@{B}", "set:prod"]
    assert parse_who(f"sg-app@{B}", None) == Grantee(B, "sg-app")
    with pytest.raises(BadInput, match=r"is not \*@<uid>"):
        parse_who("sg-app", None)


@pytest.mark.parametrize(
    ("text", "hint"), [("3306", "tcp/3306"), ("80-90", "tcp/80-90"), ("65536", ""), ("9-1", ""), ("0", ""), ("", "")]
)
def test_a_port_without_a_protocol_is_refused_with_the_likely_one(text: str, hint: str) -> None:
    """Which one it is, people say; what is no port with any protocol gets no such hint."""
    with pytest.raises(BadInput) as refused:
        parse_port(text)
    assert refused.value.problem.endswith(f": did you mean {hint}?" if hint else "(1-65535, low to high)")


def test_ports_are_unique_and_sorted_as_strings() -> None:
    """So that two spellings of one link are equal."""
    assert [str(port) for port in parse_ports("udp/53+tcp/22+tcp/1000+udp/53")] == ["tcp/1000", "tcp/22", "udp/53"]


@pytest.mark.parametrize(
    ("field", "parse", "texts"),
    [
        (
            "party",
            lambda text: parse_party(text, A),
            [
                *("", "sg-", "i-", "db", "eni-db", "*", f"*@{B}"),
                *("sg-DB", "SG-db", "sg_db", "sg-d-b", "sg-" + "z" * 61),
                *("sg-db\n", "sg-db ", "\tsg-db", "sg-dｂ", "ѕg-db", "sg-db\u200b"),
                *("sg-db@", "sg-db@12345678901234", "sg-db@123456789012345678901", "sg-db@１000000000000001"),
                *(f"sg-db@{B}@{B}", f"i-db@{B}@{B}", "i-db@", "i-db@12345678901234", f"eni-db@{B}"),
            ],
        ),
        (
            "who",
            lambda text: parse_who(text, A),
            ["", "**", "sg-*", "@", f"@{B}", "*@", "*@all", "10.0.0.1/32", "sg-app@home"],
        ),
        (
            "port",
            parse_port,
            [
                *("", "3306", "tcp", "tcp/", "TCP/1", "sctp/1", "icmp/8", "icmp/-1", "all"),
                *("tcp/0", "tcp/00", "tcp/080", "tcp/65536", "tcp/99999", "tcp/100000", "tcp/" + "9" * 5000),
                *("tcp/-1", "tcp/-1/-1", "tcp/+1", "tcp/1_0", "tcp/0x10", "tcp/１", "tcp/²", "tcp/ 1", "tcp/1\n"),
                *("tcp/20-10", "tcp/1-65536", "tcp/1-", "tcp/1-02", "tcp/1-2-3", "tcp/1:2"),
            ],
        ),
        ("port", parse_ports, ["", "+", "tcp/1+", "+tcp/1", "tcp/1++tcp/2", "tcp/1 +tcp/2", "tcp/1,tcp/2"]),
        (
            "",
            lambda text: parse_peer(text, A),
            ["sg-db:", ":tcp/1", "sg-db:tcp/1:tcp/2", "sg-db::tcp/1", "sg-db:mutual", "sg-db/tcp"],
        ),
        (
            "instant",
            parse_instant,
            [
                *("", "tomorrow", "1795593600", "2026-11-25", "2026-11-25T08:00:00", "2026-11-25 08:00:00Z"),
                *("2026-11-25T08:00Z", "2026-11-25T08:00:00,5Z", "2026-11-25T08:00:00.Z"),
                "2026-11-25T08:00:00." + "1" * 5000 + "Z",
                *(f"2026-11-25T08:00:00{zone}" for zone in ("+0800", "+08", "+24:00", "+08:60")),
                *(f"2026-{day}T00:00:00Z" for day in ("02-29", "13-01", "00-01", "11-31")),
                *("2026-11-25T24:00:00Z", "2026-11-25T08:60:00Z", "2026-12-31T23:59:60Z"),
                *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
                *("２026-11-25T08:00:00Z", "2026-11-25T08:00:00Z\n", " 2026-11-25T08:00:00Z"),
            ],
        ),
        (
            "",
            parse_compact,
            ["", "20261125T080000", "20261325T080000Z", "20261125t080000z", "2026-11-25T08:00:00Z"],
        ),
    ],
    ids=["party", "consent", "port", "ports", "peer", "instant", "compact instant"],
)
def test_any_other_text_is_bad_input(field: str, parse: Callable[[str], object], texts: list[str]) -> None:
    """`all` is no port: only a mutual link opens everything. An address cannot be accepted. An instant has a zone,
    exists in the calendar, and is no leap second."""
    for text in texts:
        with pytest.raises(BadInput, match=f"^{field}"):
            parse(text)


@pytest.mark.parametrize(
    ("valid", "yes", "no"),
    [
        (
            is_account_uid,
            ["1" * 15, "1" * 20],
            ["", "1" * 14, "1" * 21, "1" * 15 + "\n", "１" * 16, "-" + "1" * 15, "1.5e15" + "0" * 10],
        ),
        (is_name, ["ledger", "a-1", "a" * 32, "sg", "i", "tcpx"], ["", "1a", "A", "a" * 33, "sg-a", "i-a", *PROTOCOLS]),
        (is_interface_id, ["eni-1a"], ["", "eni-", "i-1a", "eni-A"]),
        (
            is_tag_prefix,
            ["a", "link", "acme2", "a" * 16],
            ["", "Acme", "1a", "a-b", "a.b", "a" * 17, "\u0430", "link-"],
        ),
    ],
    ids=["15 to 20 ASCII digits", "name of a party", "interface", "a letter and up to 15 letters and digits"],
)
def test_an_account_and_a_tag_prefix(valid: Callable[[str], bool], yes: list[str], no: list[str]) -> None:
    """No prefix has a hyphen, so that none is the beginning of another's keys."""
    assert [valid(text) for text in (*yes, *no)] == [True] * len(yes) + [False] * len(no)


def test_peers_are_read_from_the_tag_and_its_suffixes_in_the_order_of_keys() -> None:
    """From `link-peer` and `link-peer.<any>`; other keys are ignored."""
    tags = {
        "link-peer.cache": "i-redis:tcp/6379",
        "link-peer.2": f"sg-x@{B}",
        "link-peer": "sg-db:tcp/3306, sg-log",
        "link-peers": "sg-no",
        "link-peer-2": "sg-no",
        "Link-Peer": "sg-no",
        "link-accept": "sg-no",
    }
    assert peers(tags, A, KEYS) == [
        ("link-peer=sg-db:tcp/3306", Peer(Party(A, "sg-db"), (Port("tcp", 3306, 3306),))),
        ("link-peer=sg-log", Peer(Party(A, "sg-log"))),
        (f"link-peer.2=sg-x@{B}", Peer(Party(B, "sg-x"))),
        ("link-peer.cache=i-redis:tcp/6379", Peer(Party(A, "i-redis"), (Port("tcp", 6379, 6379),))),
    ]


def test_equal_peers_count_once_and_peers_with_other_ports_count_too() -> None:
    """In any spelling, and from any of the tags."""
    tags = {
        "link-peer": f"sg-db:tcp/1+tcp/2 sg-db:tcp/2+tcp/1 sg-db@{A}:tcp/1+tcp/2 sg-db",
        "link-peer.2": "sg-db no no",
    }
    listed_peers = peers(tags, A, KEYS)
    assert [text for text, _ in listed_peers] == ["link-peer=sg-db:tcp/1+tcp/2", "link-peer=sg-db", "link-peer.2=no"]


def test_a_consent_keeps_its_text_and_an_invalid_entry_consents_to_nothing() -> None:
    """Records show the text; invalid entries can be listed too."""
    tags = {
        "link-accept.9": f"*@{B}:icmp",
        **dict.fromkeys(("link-accept.b", "link-accept.1", "link-accept.10", "link-accept.02", "Link-Accept"), "*"),
        "link-accept": "sg-app:tcp/3306+tcp/33060 sg-bad: 0.0.0.0/0",
        "link-acceptor": "*",
    }
    assert [(consent.party, ports_text(consent.ports), consent.text) for consent in accepts(tags, A, KEYS)] == [
        (Grantee(A, "sg-app"), "tcp/3306+tcp/33060", "link-accept=sg-app:tcp/3306+tcp/33060"),
        (Grantee(B, "*"), "icmp", f"link-accept.9=*@{B}:icmp"),
    ]
    assert [(text, error.field) for text, error in bad_accepts(tags, A, KEYS)] == [
        ("link-accept=sg-bad:", "link-accept"),
        ("link-accept=0.0.0.0/0", "link-accept"),
    ]


def test_a_name_of_the_policy_stands_for_its_party() -> None:
    """In a peer and in a consent, alone or with ports and an end, and never with an account. The text stays as it is
    written; an unknown name is named."""
    keys = msgspec.structs.replace(KEYS, names={"ledger": Party(B, "sg-ledger"), "app": Party(A, "i-app")})
    tags = dict.fromkeys(("link-peer", "link-accept"), f"ledger:tcp/1 ledgers app@{A}") | {
        "link-accept.2": "app~20270101T000000Z"
    }
    (text, peer), *unknown = peers(tags, A, keys)
    assert (text, peer) == ("link-peer=ledger:tcp/1", Peer(Party(B, "sg-ledger"), (Port("tcp", 1, 1),)))
    assert [str(error).partition(" is not")[0] for _, error in unknown] == [
        "link-peer: 'ledgers'",
        f"link-peer: 'app@{A}'",
    ]
    consents = accepts(tags, A, keys)
    assert [(consent.party, consent.text) for consent in consents] == [
        (Grantee(B, "sg-ledger"), "link-accept=ledger:tcp/1"),
        (Grantee(A, "i-app"), "link-accept.2=app~20270101T000000Z"),
    ]
    assert accepts(tags, A, KEYS) == []


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "sg-app~",
            "sg-app~never",
            "sg-app~2027-01-01T00:00:00Z",
            "sg-app~20270101T000000",
            "sg-app~20270101t000000z",
        ),
        *("sg-app~20270230T000000Z", "sg-app:tcp/1~２0270101T000000Z"),
        *("sg-app~20270101T000000Z~", "sg-app~20270101T000000Z~20280101T000000Z", "sg-app~20270101T000000Z:tcp/1"),
        *("sg-app:~20270101T000000Z", "~20270101T000000Z"),
        *("SG-APP", "sg-app:TCP/1", f"SG-app@{B}"),
    ],
)
def test_an_entry_with_an_unreadable_end_or_in_capitals_consents_to_nothing(entry: str) -> None:
    """It never falls back to a consent without an end. The other entries of the tag count, and it can be listed."""
    tags = {"link-accept": f"{entry},sg-ok:tcp/2"}
    assert [consent.party for consent in accepts(tags, A, KEYS)] == [Grantee(A, "sg-ok")]
    ((text, error),) = bad_accepts(tags, A, KEYS)
    assert text == f"link-accept={entry}"
    assert error.field == "link-accept"


def test_a_deployment_reads_only_tags_of_its_own_prefix() -> None:
    """Peers, consent and the end of links with another prefix are another deployment's."""
    acme = tag_keys("acme", "prod", A)
    tags = {"link-peer": "sg-db", "link-accept": "*", "link-until": "2026-11-25T08:00:00Z"}
    own_tags = {key.replace("link-", "acme-"): value for key, value in tags.items()}
    for keys, mine, foreign_tags in ((KEYS, tags, own_tags), (acme, own_tags, tags)):
        assert (asks_for_links(mine, keys), asks_for_links(foreign_tags, keys)) == (True, False)
        assert (len(peers(mine, A, keys)), peers(foreign_tags, A, keys)) == (1, [])
        assert (len(accepts(mine, A, keys)), accepts(foreign_tags, A, keys)) == (1, [])
        assert link_until(mine, keys) == 1795593600
        assert link_until(foreign_tags, keys) is None


@pytest.mark.parametrize(
    ("tags", "link", "acme"),
    [
        ({}, "", ""),
        ({"link-lock": ""}, "link-lock", "link-lock"),
        ({"acme-lock": ""}, "", "acme-lock"),
        ({"acme-lock": "", "link-lock": ""}, "link-lock", "link-lock"),
        ({"other-lock": ""}, "", ""),
        ({" Link-Lock": ""}, " Link-Lock", " Link-Lock"),
        ({"link-lock.b": "", "link-lock.a": "", "acme-lock": ""}, "link-lock.a", "link-lock.a"),
        ({"acme-lock.b": "", "acme-lock.a": ""}, "", "acme-lock.a"),
        ({"LINK - LOCK.inc 7": ""}, "LINK - LOCK.inc 7", "LINK - LOCK.inc 7"),
        ({"Acme-Lock.2": ""}, "", "Acme-Lock.2"),
        ({"link-locked": "", "link_lock": "", "link-lock-2": ""}, "", ""),
    ],
)
def test_link_lock_locks_a_group_under_every_prefix(tags: dict[str, str], link: str, acme: str) -> None:
    """A lock with the deployment's own prefix locks it for that one alone. Case, spaces and what follows a dot do not
    count."""
    assert (KEYS.lock_on(tags), tag_keys("acme", "prod", A).lock_on(tags)) == (link, acme)


ON_GROUPS = [
    *("link-accept", "link-accept.2", "link-accept.9", "link-egress", "link-egress.2", "link-egress.3"),
    *("link-lock", "Link-Lock.x", "link-refuse", "LINK - refuse.close.2"),
]
ON_INSTANCES = ["link-peer", "link-peer.x", "link-until"]
WRITTEN = [f"link-managed.prod.{A}", f"link-managed.prod.{A}.instances"]
MEANT = [
    "link-accept.1",
    "link-accept.10",
    "link-egress.4",
    "Link-Egress",
    "link_refuse",
    "link-refused",
    "Link-Peer",
    "link_peers",
    "link-until.x",
    "LINK-untill",
]
OTHERS = ["env", "my-link-peer", "acme-peer", f"link-managed.test.{A}", f"link-managed.prod.{B}"]
EVERY = [*ON_GROUPS, *ON_INSTANCES, *WRITTEN, *MEANT, *OTHERS]


def test_each_key_means_something_on_groups_or_on_instances_or_looks_as_if_it_did() -> None:
    """Links depend on those that people write, and on those of link-peer once somebody took them off. The managed tags
    of others are no mistake. `link-lock` locks under every prefix; keys of a set consent."""
    keys = msgspec.structs.replace(KEYS, sets=("env",))
    for removed, written_keys in ((False, []), (True, WRITTEN)):
        keys_that_count = [key for key in EVERY if keys.links_depend_on(key, removed=removed)]
        assert keys_that_count == [*ON_GROUPS, *ON_INSTANCES, *written_keys]
    assert [key for key in EVERY if keys.decides(key)] == [*ON_GROUPS, "env"]
    assert [tag.name for tag in TAGS if tag.denied] == ["accept", "egress", "refuse", "lock"]  # to the functions' roles
    tags = dict.fromkeys(EVERY, "")
    assert similar_keys(tags, "security group", keys) == sorted([*ON_INSTANCES, *MEANT])
    assert similar_keys(tags, "instance", keys) == sorted([*ON_GROUPS, *MEANT])
    acme = tag_keys("acme", "prod", A)
    binding = ["acme-lock", "link-lock", "acme-lock.x", "acme-refuse", "link-refuse", "Link-Refuse.x"]
    assert [key for key in binding if not acme.links_depend_on(key, removed=False)] == []
    unbinding = ["Link-Locked", "Link-Refused", "acme-refuses"]
    assert similar_keys(dict.fromkeys([*binding, *unbinding, "link-accept"], ""), "security group", acme) == unbinding
    assert (keys.of_group(instances=False), keys.of_group(instances=True)) == ((WRITTEN[0],), tuple(WRITTEN))
    assert keys.accepting == ("link-accept", *(f"link-accept.{n}" for n in range(2, 10)))
    assert keys.letting_out == ("link-egress", "link-egress.2", "link-egress.3")
    assert keys.of_people == (
        *(*keys.accepting, *keys.letting_out, "link-lock"),
        *("link-refuse", "link-refuse.close", "link-refuse.close.2", "link-refuse.close.3"),
    )


def test_egress_consent_has_the_grammar_of_accept_and_keys_of_its_own() -> None:
    """An entry of one key consents to nothing at the other end."""
    tags = {"link-egress": f"sg-db:tcp/1~20270101T000000Z no *@{B}", "link-accept": "sg-app", "link-egress.3": "i-db"}
    entries = egress_accepts(tags, A, KEYS)
    assert [(str(entry.party), ports_text(entry.ports), entry.until is None) for entry in entries] == [
        (f"sg-db@{A}", "tcp/1", False),
        (f"*@{B}", "mutual", True),
        (f"i-db@{A}", "mutual", True),
    ]
    assert [consent.text for consent in accepts(tags, A, KEYS)] == ["link-accept=sg-app"]
    assert [text for text, _ in bad_accepts(tags, A, KEYS)] == ["link-egress=no"]


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ("sg-app", [("sg-app@A", "mutual")]),
        (
            f"sg-app:tcp/22+tcp/80,i-x@{B} *@{B}:icmp",
            [("sg-app@A", "tcp/22+tcp/80"), ("i-x@B", "mutual"), ("*@B", "icmp")],
        ),
        *(
            (value, [None])
            for value in ("", " ", ",", "ledger", "sg-app~20270101T000000Z", "SG-app", "sg-app:", "true")
        ),
        ("sg-app,sg-bad:", [("sg-app@A", "mutual"), None]),
    ],
)
def test_a_refusal_that_cannot_be_read_refuses_everybody(value: str, refused: list[tuple[str, str] | None]) -> None:
    """Empty, with an end, or by a name of the policy too. Its text says what is written."""
    keys = msgspec.structs.replace(KEYS, names={"ledger": Party(B, "sg-ledger")})
    entries = refusals({"link-refuse.x": value, "link-accept": "*"}, A, keys)
    assert [
        (str(entry.party).replace(A, "A").replace(B, "B"), ports_text(entry.ports)) if entry.party else None
        for entry in entries
    ] == refused
    assert all(entry.text.startswith("link-refuse.x=") for entry in entries)


@pytest.mark.parametrize(
    ("key", "link", "acme"),
    [
        *(("link-refuse", 1, 1), (" Link - Refuse", 1, 1), ("LINK-REFUSE.close.2", 1, 1), ("acme-refuse", 0, 1)),
        *(("Acme-Refuse.x", 0, 1), ("other-refuse", 0, 0), ("link-refused", 0, 0), ("link_refuse", 0, 0)),
    ],
)
def test_link_refuse_refuses_under_every_prefix(key: str, link: int, acme: int) -> None:
    """With the deployment's own prefix, for that one alone. Case, spaces and what follows a dot do not count."""
    counts = [len(refusals({key: "sg-app"}, A, keys)) for keys in (KEYS, tag_keys("acme", "prod", A))]
    assert counts == [link, acme]


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-25T08:00:00Z", 1795593600),
        ("2026-11-25T16:00:00+08:00", 1795593600),
        ("2026-11-25T07:30:00-00:30", 1795593600),
        ("2026-11-25t08:00:00z", 1795593600),
        ("2026-11-25T08:00:00.5Z", 1795593600.5),
        ("2026-11-25T08:00:00.123456789Z", 1795593600.123),
        ("2028-02-29T00:00:00Z", 1835395200),
        ("9999-12-31T23:59:59.999999999Z", 253402300799.999),
    ],
)
def test_an_instant_is_rfc3339_with_a_zone(text: str, epoch: float) -> None:
    """In seconds since the epoch, to the millisecond."""
    assert parse_instant(text) == epoch


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (1795593600, "2026-11-25T08:00:00"),
        (1782874800, "2026-07-01T03:00:00"),  # summer time in St. John's
        (0, "1970-01-01T00:00:00"),
    ],
)
def test_the_time_zone_of_the_machine_does_not_matter(zone: str, epoch: int, text: str) -> None:
    """Function Compute may run in UTC, a person's machine anywhere; both read and write the same markers."""
    assert time.localtime(1782874800).tm_hour == {"UTC": 3, "Asia/Shanghai": 11, "America/St_Johns": 0}[zone]
    short = text.replace("-", "").replace(":", "") + "Z"
    assert (iso(epoch), iso_millis(epoch), compact(epoch)) == (f"{text}Z", f"{text}.000Z", short)
    assert [parse_compact(short), parse_instant(f"{text}Z"), parse_instant(f"{text}+00:00")] == [epoch] * 3
    assert link_until({"link-until": f"{text}Z"}, KEYS) == epoch
    assert parse_instant(f"{text}+08:00") == epoch - 8 * 3600


def test_instants_are_written_rounded_down() -> None:
    """In markers and records to the second, so that no link lasts longer than was asked; elsewhere to the
    millisecond."""
    assert (compact(1795593600.999), compact(-0.5)) == ("20261125T080000Z", "19691231T235959Z")
    assert iso(1795593600.999) == "2026-11-25T08:00:00Z"
    assert [iso_millis(1795593600 + part)[19:] for part in (0, 0.1239, 0.9999)] == [".000Z", ".123Z", ".999Z"]
    assert iso_millis(-0.0005) == "1969-12-31T23:59:59.999Z"


@quick
@given(st.integers(0, 7_258_118_400), st.integers(0, 999))
def test_every_millisecond_is_read_back_as_it_was_written(second: int, millis: int) -> None:
    """Up to the year 2200: the float nearest to an instant is not cut to the millisecond before."""
    epoch = second + millis / 1000
    assert iso_millis(epoch).endswith(f".{millis:03d}Z")
    assert parse_instant(iso_millis(epoch)) == epoch


def test_a_text_from_outside_is_escaped_and_clipped_in_messages() -> None:
    """So that a message has no control or bidi characters, and not a megabyte of text."""
    assert quoted("a\u202e\n\ud800") == "'a\\u202e\\n\\ud800'"
    assert [quoted("x" * n) for n in (80, 81)] == ["'" + "x" * 80 + "'", "'" + "x" * 80 + "...'"]
    assert clean("a\u202e\n\ud800é\ue000") == "a\\u202e\\u000a\\ud800é\\ue000"
    assert [len(clean("x" * 9_000, limit)) for limit in (FIELD_LIMIT, 10, None)] == [8_000, 10, 9_000]


@quick
@given(st.lists(port_values, min_size=1, max_size=6), port_values)
@example(list(parse_ports("tcp/1-5+tcp/6-10")), parse_port("tcp/3-8"))
@example(list(parse_ports("tcp/1-5+tcp/7-10")), parse_port("tcp/3-8"))
@example(list(parse_ports("tcp/1-9+tcp/2-3+tcp/10-20")), parse_port("tcp/5-15"))
@example(list(parse_ports("tcp/1-100")), parse_port("tcp/100-101"))
@example(list(parse_ports("tcp/2-100")), parse_port("tcp/1-100"))
def test_coverage_equals_counting_every_port(ports: list[Port], port: Port) -> None:
    """The union of the consent's ranges, port by port."""
    union = {(p.protocol, n) for p in ports for n in range(p.low, p.high + 1)}
    expected_ports = {(port.protocol, n) for n in range(port.low, port.high + 1)}
    assert covers(tuple(ports), port) is (expected_ports <= union)
