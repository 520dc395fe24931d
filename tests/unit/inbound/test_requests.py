"""Messages of the queue: which are read, which are refused and for which field, and which are denied."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from link_peer.domain.denials import LinkDenied
from link_peer.domain.model import Link, Party, Port
from link_peer.domain.request import Look, Message, Request, SweepAccount, look_request, sync_request
from link_peer.domain.tags import parse_instant
from link_peer.inbound.events import elements, queue_message
from link_peer.inbound.message_body import SURROGATE, body_of
from link_peer.inbound.requests import BadRequest, DeniedRequest, ReadableFields, decode, decode_sweep, encode

A, B = "1000000000000001", "1000000000000002"
APP, LEDGER = Party(A, "sg-bp1azkttqpldxgtedxxx"), Party(B, "sg-bp15ed6xe1yxeycg7xxx")
REGION = "cn-qingdao"
NOW = parse_instant("2026-11-25T07:00:00Z")
EVENTS = Path(__file__).parents[3] / "events"

GOOD: dict[str, Any] = {
    "version": 1,
    "request_id": "chg-1042",
    "action": "link",
    "region": REGION,
    "from": {"account": A, "party": APP.id},
    "to": {"account": B, "party": LEDGER.id},
    "ports": ["tcp/3306"],
    "expires_at": "2026-11-25T08:00:00Z",
    "until": "2099-12-31T00:00:00Z",
    "reason": "orders service reads the ledger",
    "requested_by": "team-orders",
}
LINK = Request(
    "chg-1042",
    "link",
    REGION,
    Link(APP, LEDGER, (Port("tcp", 3306, 3306),)),
    1795593600,
    4102358400,
    "orders service reads the ledger",
    "team-orders",
)


LOOK: dict[str, Any] = {
    "version": 1,
    "request_id": "look-i-bp1created0000000000a",
    "action": "look",
    "region": REGION,
    "party": {"account": A, "party": "i-bp1created0000000000a"},
    "expires_at": "2026-11-25T07:05:00.922Z",
    "attempt": 1,
}
NEW = Party(A, "i-bp1created0000000000a")
ACTIONS = ("link", "unlink", "sync")


def read_any(message: object) -> Message:
    body = message if isinstance(message, (str, bytes)) else json.dumps(message)
    return decode(body, region=REGION, now=NOW)


def read(message: object) -> Request:
    request = read_any(message)
    assert isinstance(request, Request)
    return request


def refused(message: object) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read_any(message)
    assert str(caught.value).replace("…", "").isascii()  # our own sg-… is the only other character
    assert len(str(caught.value)) < 500
    return caught.value


def read_sweep(body: str | bytes) -> SweepAccount:
    return decode_sweep(body, region=REGION, accounts=[A, B])


def less(*names: str, **fields: object) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key not in names} | fields


def look(*names: str, **fields: object) -> dict[str, Any]:
    return {key: value for key, value in LOOK.items() if key not in names} | fields


def sample(name: str) -> list[str]:
    """The bodies in a sample of the queue's stream."""
    samples = elements((EVENTS / f"{name}.json").read_bytes())
    return [queue_message(element, home=A, region=REGION).body for element in samples]


@pytest.mark.parametrize(
    ("name", "count"), [("queue-link", 1), ("queue-plain", 1), ("queue-base64", 1), ("queue-raw-data", 3)]
)
def test_a_message_reads_the_same_in_every_encoding(name: str, count: int) -> None:
    """As text, as an object, or in base64, which may be wrapped into lines; the event's data alone, the request itself,
    and its text."""
    assert [read(body) for body in sample(name)] == [LINK] * count
    assert read(base64.encodebytes(json.dumps(GOOD).encode())) == LINK


def test_an_unlink_and_a_sync_are_read() -> None:
    """An unlink with ports removes those ports; a sync has none."""
    (unlink,) = map(read, sample("queue-unlink"))
    assert (unlink.action, unlink.link, unlink.until) == ("unlink", LINK.link, None)
    (sync,) = map(read, sample("queue-sync"))
    assert sync == sync_request(LINK.link, REGION, NOW)


def test_a_name_of_the_policy_needs_no_account() -> None:
    """With one, or where the policy has no such name, the request is bad, and the name is named. A look has none."""
    names = {"ledger": LEDGER}

    def parsed_message(message: Any) -> Message:
        return decode(json.dumps(message), region=REGION, now=NOW, names=names)

    assert parsed_message(less(to={"party": "ledger"})) == LINK
    assert json.loads(encode(LINK))["to"] == GOOD["to"]
    for party in ({"party": "ledgers"}, {"party": "ledger", "account": B}, {"party": APP.id}):
        with pytest.raises(BadRequest, match=f"to.party: '{party['party']}' is") as caught:
            parsed_message(less(to=party))
        assert (caught.value.fields.source, caught.value.fields.target) == (APP, None)
    with pytest.raises(BadRequest, match="party"):
        parsed_message(look(party={"party": "ledger"}))


def test_a_look_is_read() -> None:
    """At an instance or a group. Unlike a request it never expires in the queue: it is carried out once more. It may
    name any account: whether that is home is judged later, so that the denial can be recorded."""
    first, expired = map(read_any, sample("queue-look"))
    expires = parse_instant("2026-11-25T07:05:00.922Z")
    assert first == Look("look-i-bp1created0000000000a", REGION, NEW, expires, 1) == read_any(LOOK)
    assert expired == Look("look-sg-bp15ed6xe1yxeycg7xxx", REGION, Party(A, LEDGER.id), NOW - 3600)
    other_document = decode(json.dumps(look(party={"account": B, "party": "sg-b"})), region=REGION, now=NOW + 10**8)
    assert isinstance(other_document, Look)
    assert other_document.party == Party(B, "sg-b")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (less(region="cn-hangzhou", expires_at="2020-01-01T00:00:00Z"), "different-region"),
        (look(region="cn-hangzhou"), "different-region"),
        (less("until", expires_at="2026-11-25T06:54:59.999Z"), "expired"),
        (less("until", expires_at="2026-11-25T06:55:00Z"), ""),
        (less(until="2026-11-25T07:00:00Z"), "expired"),
        (less(until="2026-11-25T07:00:01Z"), ""),
        (less(expires_at="2026-11-26T07:05:00Z"), ""),
    ],
    ids=["region", "look of another region", "late", "just in time", "past end", "end to come", "a day ahead"],
)
def test_a_message_for_another_region_or_that_has_expired_is_denied(message: dict[str, Any], code: str) -> None:
    """The region is reported first. A request may be five minutes past, since clocks differ and the queue redelivers;
    `until` itself counts as past. The denial has the whole message, so that all of it can be recorded."""
    if not code:
        assert read_any(message).request_id == message["request_id"]
        return
    with pytest.raises(DeniedRequest) as caught:
        read_any(message)
    assert caught.value.denial.reason.code == code
    assert caught.value.request.request_id == message["request_id"]
    assert code == "expired" or "cn-hangzhou" in caught.value.denial.detail


@pytest.mark.parametrize(
    ("message", "prefix", "owner"),
    [
        *((less("ports", "until", action=action, request_id="look-i-a"), "look-", "look") for action in ACTIONS),
        (less(request_id="tag-1"), "tag-", "sync"),
        (less("until", action="unlink", request_id="tag-"), "tag-", "sync"),
        (look(request_id="tag-1"), "tag-", "sync"),
    ],
)
def test_ids_of_syncs_and_of_looks_are_theirs_alone(message: dict[str, Any], prefix: str, owner: str) -> None:
    """So that a link of a sender cannot look like one of a tag, nor like a look."""
    error = refused(message)
    reserved = f"ids that start with {prefix} are reserved for {owner}: choose another"
    assert (error.field, error.problem) == ("request_id", reserved)
    assert error.fields.request_id.startswith(prefix)
    for good in (less("ports", "until", action="sync", request_id="tag-1"), less(request_id="TAG-1"), look()):
        assert read_any(good).request_id == good["request_id"]
    assert read(less(request_id="tag.1")).request_id == "tag.1"


def test_a_look_names_its_party_and_is_read_back() -> None:
    """The longest id of a party is cut, so that the request id has 48 characters."""
    long = Party(A, "sg-" + "z" * 60)
    posted = look_request(long, REGION, NOW + 300)
    assert posted.request_id == "look-sg-" + "z" * 40
    assert read_any(encode(posted)) == posted


def test_a_message_cannot_name_a_role() -> None:
    """The queue carries no authority: roles come from the policy file only."""
    (body,) = sample("queue-bad-request")
    error = refused(body)
    assert error.field == "to"
    assert "unknown field `role`" in error.problem
    assert (error.fields.request_id, error.fields.source, error.fields.target) == ("chg-1044", APP, None)


def test_ports_until_reason_and_requested_by_are_optional() -> None:
    """Without ports a link is mutual. Both parties must be of one kind; their accounts may be equal. Ports are unique
    and sorted, so that equal links have equal ids."""
    request = read(less("ports", "until", "reason", "requested_by"))
    assert request.link == Link(APP, LEDGER)
    assert (request.until, request.reason, request.requested_by) == (None, "", "")
    ends = {"from": {"account": A, "party": "i-a"}, "to": {"account": A, "party": "i-b"}}
    long = read(less(reason="x" * 256, requested_by="y" * 256))
    assert (long.reason, long.requested_by) == ("x" * 256, "y" * 256)
    link = read(less(**ends, ports=["udp/53", "tcp/22", "udp/53", "icmp"])).link
    assert link == Link(Party(A, "i-a"), Party(A, "i-b"), (Port("icmp"), Port("tcp", 22, 22), Port("udp", 53, 53)))


BAD: dict[str, tuple[object, str]] = {
    **{f"no {name}": (less(name), "body") for name in ("version", "request_id", "from", "expires_at")},
    **{f"look without {name}": (look(name), "body") for name in LOOK if name not in ("action", "attempt")},
    "version two": (less(version=2), "version"),
    "version true": (less(version=True), "version"),
    "version 1.0": (json.dumps(GOOD).replace('"version": 1', '"version": 1.0'), "body"),
    "version of 5,000 digits": (json.dumps(GOOD).replace('"version": 1', '"version": ' + "1" * 5000), "body"),
    "request id empty": (less(request_id=""), "request_id"),
    "request id too long": (less(request_id="x" * 49), "request_id"),
    "request id with a space": (less(request_id="chg 1"), "request_id"),
    "request id with a line feed": (less(request_id="chg-1\n"), "request_id"),
    "attempt negative": (less(attempt=-1), "attempt"),
    "attempt too high": (less(attempt=10001), "attempt"),
    "attempt of nine digits": (less(attempt=999_999_999), "attempt"),
    "attempt of ten digits": (less(attempt=1_000_000_000), "body"),
    "attempt true": (less(attempt=True), "attempt"),
    "attempt 1.0": (json.dumps(GOOD)[:-1] + ', "attempt": 1.0}', "body"),
    "look with ports": (look(ports=["tcp/1"]), "body"),
    "look with from": (look(**{"from": {"account": A, "party": "i-a"}}), "body"),
    "look at a text": (look(party=NEW.id), "party"),
    "look at no party": (look(party={"account": A, "party": "eni-a"}), "party.party"),
    "link with a party": (less(party={"account": A, "party": "i-a"}), "body"),
    "request id in other letters": (less(request_id="сhg-1"), "request_id"),
    "unknown action": (less(action="open"), "action"),
    "region strange": (less(region="cn-qingdao\n"), "region"),
    "from a text": (less(**{"from": f"{APP.id}@{A}"}), "from"),
    "account a number": (less(**{"from": {"account": int(A), "party": APP.id}}), "body"),
    "account too short": (less(**{"from": {"account": "1" * 14, "party": APP.id}}), "from.account"),
    "account a role": (less(**{"from": {"account": f"acs:ram::{A}:role/x", "party": APP.id}}), "from.account"),
    "party with account": (less(to={"account": B, "party": f"{LEDGER.id}@{B}"}), "to.party"),
    "party in other letters": (less(to={"account": B, "party": "ѕg-db"}), "to.party"),
    "party and more": (less(to={"account": B, "party": "sg-db", "role": "r"}), "to"),
    "mixed kinds": (less(to={"account": B, "party": "i-db"}), "to"),
    "ports empty": (less(ports=[]), "ports"),
    "ports a text": (less(ports="tcp/3306"), "ports"),
    "a port of none": (less(ports=["tcp/1", "tcp/0"]), "ports[1]"),
    "expires_at a number": (less(expires_at=1795593600), "body"),
    "expires_at too far ahead": (less(expires_at="2026-11-26T07:05:01Z"), "expires_at"),
    "expires_at without zone": (less(expires_at="2026-11-25T08:00:00"), "expires_at"),
    "until never": (less(until="never"), "until"),
    "reason too long": (less(reason="x" * 257), "reason"),
    "reason half a character": (less(reason="\ud800"), "reason"),
    "requested_by too long": (less(requested_by="x" * 257), "requested_by"),
    "unknown field": (less(external_id="x"), "body"),
    "sync with ports": (less("until", action="sync"), "ports"),
    "sync with until": (less("ports", action="sync"), "until"),
    "unlink with until": (less(action="unlink"), "until"),
    "a key twice": (json.dumps(GOOD)[:-1] + ', "action": "unlink"}', "'action'"),
    "a key twice within": (json.dumps(GOOD).replace('"party"', '"account": "1", "party"', 1), "'account'"),
    "NaN": (json.dumps(GOOD)[:-1] + ', "x": NaN}', "body"),
    "a trailing comma": (json.dumps(GOOD)[:-1] + ",}", "body"),
    "null in base64": (base64.b64encode(b"null"), "body"),
    "a list in base64": (base64.b64encode(json.dumps([GOOD]).encode()), "body"),
    "empty": ("", "body"),
    "not UTF-8": (json.dumps(GOOD).encode().replace(b"orders", b"\xff\xfe", 1), "body"),
    "UTF-16": (json.dumps(GOOD).encode("utf-16"), "body"),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "body"),
    "half a character": ('{"a": "\ud800"}', "body"),
    "nested deeply": ('{"a":' * 10000, "body"),
    "base64 with dirt": (base64.b64encode(json.dumps(GOOD).encode()) + b"!", "body"),
}


@pytest.mark.parametrize(("message", "field"), BAD.values(), ids=BAD)
def test_a_message_that_does_not_match_the_schema_is_a_bad_request_that_names_the_field(
    message: object, field: str
) -> None:
    """`body` if it concerns the message as a whole."""
    assert refused(message).field == field


def test_a_bad_request_has_the_fields_that_could_be_read() -> None:
    """For the record: id, from and to, each by itself. Of a look, the id and the action."""
    whole = ReadableFields(
        "chg-1042",
        "link",
        APP,
        LEDGER,
        {"claimed_by": "team-orders", "claimed_reason": "orders service reads the ledger"},
    )
    assert refused(less(ports=["tcp/0"])).fields == whole
    fields = refused(less(request_id="chg 1", action="open", to={"account": B, "party": "*"})).fields
    assert fields == msgspec.structs.replace(whole, request_id="", action="", target=None)
    assert refused("not JSON").fields == refused([GOOD]).fields == ReadableFields()
    assert refused(look(ports=[])).fields == ReadableFields("look-i-bp1created0000000000a", "look")
    assert (
        refused(less(request_id=7, action=None, reason=["x"], requested_by={}, to=[], **{"from": 5})).fields
        == ReadableFields()
    )
    long = refused(less(reason="x" * 257))
    assert (long.problem, long.fields.claimed["claimed_reason"]) == ("longer than 256 characters", "x" * 256)


@pytest.mark.parametrize("members", ['"action": "unlink"', '"ports": 1.5', '"ports": NaN', f'"ports": {"9" * 5000}'])
def test_the_sender_of_a_message_that_is_not_strict_json_is_recorded(members: str) -> None:
    """A duplicate key, or a number where none is allowed: the message is refused, and its record still has its id and
    parties."""
    fields = refused(f"{json.dumps(GOOD)[:-1]}, {members}}}").fields
    assert (fields.request_id, fields.source, fields.target) == ("chg-1042", APP, LEDGER)


def test_a_hostile_field_name_cannot_fake_the_location_of_an_error() -> None:
    """It is escaped and cut, and `field` names the part of the schema that it was in."""
    error = refused(less(**{"from": {"account": A, "party": "sg-a", "\u202ex` - at `$.\u202ey": 1}}))
    assert error.field == "from"
    assert "\\u202e" in error.problem
    assert len(refused(less(**{"x" * 999: 1})).problem) == 300
    assert refused(less(**{"\ud800": 1})).problem == SURROGATE


def test_a_message_of_64_kb_is_read() -> None:
    """One byte more is refused."""
    text = json.dumps(GOOD)
    assert read(text + " " * (2**16 - len(text))) == LINK
    assert body_of(b"{" + b" " * (2**16 - 1))
    assert refused(b"{" + b" " * 2**16).problem == "longer than 64 KB"


def test_a_sync_has_one_id_for_a_pair_in_its_direction() -> None:
    """Whatever its ports; the opposite direction has another id. It expires after an hour."""
    sync = sync_request(Link(APP, LEDGER, (Port("tcp", 1, 1),)), REGION, NOW)
    assert sync.request_id == f"tag-{Link(APP, LEDGER).id(REGION, ordered=True)}"
    assert sync.request_id != sync_request(Link(LEDGER, APP), REGION, NOW).request_id
    assert (sync.action, sync.link, sync.expires_at) == ("sync", Link(APP, LEDGER), NOW + 3600)
    assert decode(encode(sync), region=REGION, now=NOW) == sync


def test_a_sweep_of_an_account_is_read_as_it_was_written() -> None:
    """The sample, and one with a cursor."""
    (body,) = sample("sweep-account")
    assert read_sweep(body) == SweepAccount(REGION, B, NOW, "")
    sweep_account = SweepAccount(REGION, A, NOW + 0.5, {"began": 1_795_593_600, "buckets": [[1, "0" * 12, 0]]})
    assert read_sweep(encode(sweep_account)) == sweep_account


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cursor": 10**11}, ""),
        ({"cursor": 10**12}, "body: the number '1000000000000' is not allowed"),
        ({"attempt": 1}, "body: Object contains unknown field `attempt`"),
        ({"posted_at": "now"}, "posted_at: 'now' is not"),
        ({"region": "cn_qingdao"}, "region: 'cn_qingdao' is not a region id"),
        ({"account": "1" * 14}, "account: '11111111111111' is not an account uid"),
        ({"region": "cn-hangzhou"}, "cn-hangzhou"),
        ({"account": "1000000000000003"}, "1000000000000003"),
    ],
)
def test_a_sweep_names_this_region_and_a_known_account(fields: dict[str, Any], message: str) -> None:
    """And matches the schema. What it says of itself is not kept; whoever posts one is not told to post it
    elsewhere."""
    (body,) = sample("sweep-account")
    text = json.dumps(json.loads(body) | fields)
    if not message:
        assert read_sweep(text).cursor == 10**11
        return
    with pytest.raises((BadRequest, LinkDenied)) as caught:
        read_sweep(text)
    if isinstance(caught.value, BadRequest):
        assert str(caught.value).startswith(message)
        assert caught.value.fields == ReadableFields()
    else:
        assert message in caught.value.denial.detail
        assert "post it there" not in caught.value.denial.advice
