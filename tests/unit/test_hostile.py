"""Hostile texts for every parser: only our own errors are raised, and no invalid syntax is accepted.

The syntax is implemented here a second time, from the contract, by hand and without regular expressions.
"""

from __future__ import annotations

import base64
import calendar
import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from link_peer.domain.denials import LinkDenied
from link_peer.domain.errors import BadInput
from link_peer.domain.marker import MAX_LENGTH, parse, render
from link_peer.domain.model import Port
from link_peer.domain.request import Hint, Look
from link_peer.domain.tags import Peer, accepts, bad_accepts, link_until, parse_instant, peers, tag_keys
from link_peer.inbound.events import decode as decode_event
from link_peer.inbound.events import elements, queue_message
from link_peer.inbound.requests import decode, encode

A, B = "1000000000000001", "1000000000000002"
REGION = "cn-qingdao"
KEYS = tag_keys("link", "prod", A)
ROOT = Path(__file__).parents[2]
NOW = parse_instant("2026-11-25T07:00:00Z")
quick = settings(max_examples=60, derandomize=True, deadline=None)  # tests/fuzz tries more

DIGITS, LOWER = "0123456789", "abcdefghijklmnopqrstuvwxyz"

# an independent parser


def is_id(text: str, kind: str) -> bool:
    suffix = text[len(kind) :]
    return text.startswith(kind) and 1 <= len(suffix) <= 60 and all(c in DIGITS + LOWER for c in suffix)


def is_uid(text: str) -> bool:
    return 15 <= len(text) <= 20 and all(c in DIGITS for c in text)


def is_number(text: str) -> bool:
    return text != "" and all(c in DIGITS for c in text) and text[0] != "0" and int(text) <= 65535


def is_port(text: str) -> bool:
    if text == "icmp":
        return True
    protocol, slash, numbers = text.partition("/")
    low, dash, high = numbers.partition("-")
    if protocol not in ("tcp", "udp") or not slash or not is_number(low):
        return False
    return not dash or (is_number(high) and int(low) <= int(high))


def is_peer(text: str, *, may_be_anyone: bool) -> bool:
    """`party[:ports]` of a `link-peer` tag, or `who[:ports][~<end>]` of a `link-accept` tag."""
    if may_be_anyone and "~" in text:
        text, _, end = text.partition("~")
        if not is_end(end):
            return False
    party, colon, ports = text.partition(":")
    name, at, account = party.partition("@")
    is_known = is_id(name, "sg-") or is_id(name, "i-") or (may_be_anyone and name == "*")
    return is_known and (not at or is_uid(account)) and (not colon or all(map(is_port, ports.split("+"))))


def is_end(text: str) -> bool:
    """`20270101T000000Z`, of a day that exists."""
    if len(text) != 16 or text[8] != "T" or text[15] != "Z" or any(c not in DIGITS for c in text[:8] + text[9:15]):
        return False
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    if year == 0 or not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return False
    return int(text[9:11]) <= 23 and int(text[11:13]) <= 59 and int(text[13:15]) <= 59


def pieces(value: str) -> list[str]:
    return [piece for part in value.split(",") for piece in part.split(" ") if piece]


# texts with almost valid syntax

near = st.lists(
    st.sampled_from(
        [
            *("sg-", "i-", "sg-a", "i-b", "*", "@", A, B, ":", "+", ",", " ", "tcp/", "udp/", "icmp", "1", "65535"),
            *("65536", "0", "01", "-", "/", "9-8", "8-9", "\t", "\n", "\x00", "\u00a0", "\u200b", "\u202e", "\uff11"),
            *("TCP/", "Sg-a", "\u0660", "tcp/80", "tcp/8000-8010", "\ud800"),
            *("~", "20270101T000000Z", "20270230T000000Z", "00000101T000000Z", "T", "Z"),
        ]
    )
    | st.characters(),
    max_size=12,
).map("".join)


@quick
@given(near)
@example(f"sg-{'a' * 60}@{A}:tcp/1+udp/65535,i-{'b' * 61} i-a@{B}")
def test_a_peer_is_accepted_if_and_only_if_its_syntax_is_valid(value: str) -> None:
    """Each entry by itself; an accepted peer has the value that was written."""
    for text, read in peers({"link-peer": value}, A, KEYS):
        written = text.removeprefix("link-peer=")
        assert isinstance(read, Peer) is is_peer(written, may_be_anyone=False), ascii(written)
        if isinstance(read, Peer):
            assert is_peer(str(read.party).removesuffix(f"@{A}"), may_be_anyone=False)
            peer_text = f"{read.party}:{'+'.join(map(str, read.ports))}".rstrip(":")
            assert peers({"link-peer": peer_text}, A, KEYS)[0][1] == read if read.party.is_group else True


@quick
@given(near)
@example(f"sg-a~20270101T000000Z,*@{A}:icmp~20270101T240000Z sg-b~")
def test_a_consent_is_read_if_and_only_if_its_syntax_is_valid(value: str) -> None:
    """An entry with invalid syntax consents to nothing, and does not affect the others."""
    good = [accept.text.removeprefix("link-accept=") for accept in accepts({"link-accept": value}, A, KEYS)]
    bad = [text.removeprefix("link-accept=") for text, _ in bad_accepts({"link-accept": value}, A, KEYS)]
    assert good == [piece for piece in pieces(value) if is_peer(piece, may_be_anyone=True)]
    assert bad == [piece for piece in pieces(value) if not is_peer(piece, may_be_anyone=True)]


instants = st.lists(
    st.sampled_from(
        ["2026", "-", "11", "02", "30", "T", "t", " ", "24", ":", "60", "00", "Z", "z", "+", ".", "9", "١"]
    ),
    max_size=16,
).map("".join) | st.builds(
    "{}-{}-{}T{}:{}:{}{}".format,
    st.sampled_from(["0000", "0001", "1970", "2027", "9999", "10000"]),
    st.sampled_from(["00", "01", "02", "12", "13", "1"]),
    st.sampled_from(["00", "01", "29", "30", "31", "32"]),
    st.sampled_from(["00", "23", "24"]),
    st.sampled_from(["00", "59", "60"]),
    st.sampled_from(["00", "59", "60", "59.999999", "00.", "5"]),
    st.sampled_from(["Z", "", "z", "+08:00", "-23:59", "+24:00", "+08", "+0800", " Z"]),
)


@quick
@given(instants)
@example("2027-02-29T00:00:00Z")
def test_link_until_is_an_instant_of_the_calendar_or_bad_input(text: str) -> None:
    """A real date with a zone. Anything else is a bad tag, and opens no link for ever."""
    read = link_until({"link-until": text}, KEYS)
    if isinstance(read, BadInput):
        return
    assert isinstance(read, int)
    day, _, time_text = text.replace("t", "T").partition("T")
    year, month, number = (int(part) for part in day.split("-"))
    assert 1 <= number <= calendar.monthrange(year, month)[1]
    assert (len(day), time_text[2], time_text[5]) == (10, ":", ":")
    assert time_text[-1] in "Zz" or (time_text[-6] in "+-" and time_text[-3] == ":")
    assert int(time_text[:2]) <= 23
    assert int(time_text[6:8]) <= 59


# messages

json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | near | st.sampled_from(["link", "sg-a", A, 1, "tcp/22"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(near, inner, max_size=3),
    max_leaves=8,
)


def message(changes: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"version": 1, "request_id": "chg-1", "action": "link", "region": REGION}
    good |= {"from": {"account": A, "party": "sg-a"}, "to": {"account": B, "party": "sg-b"}}
    return {**good, "expires_at": "2026-11-25T08:00:00Z", **changes}


def look(changes: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"version": 1, "request_id": "look-i-a", "action": "look", "region": REGION, "attempt": 3}
    good["party"] = {"account": A, "party": "i-a"}
    return {**good, "expires_at": "2026-11-25T07:05:00.922Z", **changes}


FIELDS = sorted({*message({}), *look({}), "ports", "until", "reason", "extra"})


@quick
@given(
    st.tuples(st.sampled_from([message, look]), st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=2)).map(
        lambda drawn: json.dumps(drawn[0](drawn[1]))
    )
    | json_values.map(json.dumps)
    | near,
    st.booleans(),
)
def test_a_request_matches_the_schema_or_raises_our_own_error(text: str, coded: bool) -> None:
    """Plain or in base64; an accepted message stays the same when it is encoded and decoded again."""
    body: str | bytes = base64.b64encode(text.encode("utf-8", "replace")) if coded else text
    try:
        request = decode(body, region=REGION, now=NOW)
    except (BadInput, LinkDenied):
        return
    ends = (request.party,) if isinstance(request, Look) else (request.link.source, request.link.target)
    assert all(is_uid(end.account) and (is_id(end.id, "sg-") or is_id(end.id, "i-")) for end in ends)
    assert len({end.is_group for end in ends}) == 1
    assert isinstance(request, Look) or all(is_port(str(port)) for port in request.link.ports)
    assert isinstance(request, Look) or request.expires_at >= NOW - 300
    assert request.expires_at <= NOW + 24 * 3600 + 300
    assert 0 <= request.attempt <= 10_000
    assert 1 <= len(request.request_id) <= 48
    assert request.request_id.isascii()
    assert decode(encode(request), region=REGION, now=NOW) == request


SAMPLES = ("ecs-created", "ecs-legacy-running", "tags-removed", "tags-group-lock", "queue-plain")


@st.composite
def samples(draw: st.DrawFn) -> bytes:
    """A sample of events/ with any value in any field of it, or of its data."""
    event = json.loads((ROOT / "events" / f"{draw(st.sampled_from(SAMPLES))}.json").read_text())
    where = draw(st.sampled_from([event, *(part for part in event.values() if isinstance(part, dict))]))
    where[draw(st.sampled_from(sorted(where)))] = draw(json_values)
    return json.dumps(event).encode()


@quick
@given(samples() | st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"1" * 5000)
def test_a_delivery_of_any_bytes_is_elements_or_bad_input(event: bytes) -> None:
    """Each element gives hints of home's parties, a message's body, or bad input: never another exception."""
    try:
        event_elements = elements(event)
    except BadInput:
        return
    for element in event_elements:
        with contextlib.suppress(BadInput):
            hints = decode_event(element, home=A, region=REGION, keys=KEYS)
            parties = [hint.party for hint in hints if isinstance(hint, Hint)]
            assert all(party.account == A and (is_id(party.id, "sg-") or is_id(party.id, "i-")) for party in parties)
        with contextlib.suppress(BadInput):
            assert queue_message(element, home=A, region=REGION).queue in ("", "link-requests")


# descriptions

descriptions = st.lists(
    st.sampled_from(
        [
            *("link-peer/2", " ", "dep=", "prod", "home=", A, "id=", "0f4701091c58a844", "by=", "tag", ",", "req:"),
            *(
                "chg-1",
                "~",
                "20270101T000000Z",
                "from=",
                "to=",
                "i-a",
                f"i-b@{B}",
                f"@{A}",
                "\n",
                "\u202e",
                "=",
                "20270230T000000Z",
            ),
            *(f"link-peer/2 dep=prod home={A} id=0f4701091c58a844 by=", " from=i-a to=i-b"),
        ]
    ),
    max_size=14,
).map("".join)


@quick
@given(descriptions | st.text(max_size=80))
def test_a_description_is_a_marker_only_if_we_could_have_written_it(text: str) -> None:
    """A marker is rendered as the text that it was read from, except for the order of its claims."""
    marker = parse(text)
    if marker is None:
        return
    written = render(marker)
    assert len(written) <= MAX_LENGTH
    assert parse(written) == marker
    assert [sorted(part.split(",")) for part in written.split(" ")] == [
        sorted(part.split(",")) for part in text.split(" ")
    ]


def test_the_independent_parser_tells_valid_from_invalid() -> None:
    """Otherwise the comparisons above would mean nothing."""
    assert is_peer(f"sg-a@{B}:tcp/1+icmp", may_be_anyone=False)
    assert is_peer(f"*@{B}", may_be_anyone=True)
    assert not is_peer("i-a@", may_be_anyone=False)
    assert not is_peer("sg-a:", may_be_anyone=True)
    assert not is_peer("sg-a:tcp/0", may_be_anyone=True)
    assert str(Port("tcp", 8, 9)) == "tcp/8-9"
