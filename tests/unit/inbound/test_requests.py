"""Messages of the queue: which are read, which are refused and for which field, and which are denied."""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from link_peer.domain.model import Link, Party, Port
from link_peer.domain.request import Look, Message, Request, SweepAccount, look_request, sync_request
from link_peer.domain.tags import parse_instant
from link_peer.inbound.events import elements, queue_message
from link_peer.inbound.message_body import MAX_BYTES, body_of
from link_peer.inbound.requests import MAX_ATTEMPT, BadRequest, DeniedRequest, Known, decode, decode_sweep, encode

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


def less(*names: str, **more: object) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key not in names} | more


def look(*names: str, **more: object) -> dict[str, Any]:
    return {key: value for key, value in LOOK.items() if key not in names} | more


def sample(name: str) -> list[str]:
    """The bodies in a sample of the queue's stream."""
    found = elements((EVENTS / f"{name}.json").read_bytes())
    return [queue_message(element, home=A, region=REGION).body for element in found]


def test_the_contracts_message_is_read() -> None:
    """Every field of it."""
    assert read(GOOD) == LINK


@pytest.mark.parametrize("name", ["queue-link", "queue-plain", "queue-base64"])
def test_a_message_reads_the_same_in_every_encoding(name: str) -> None:
    """As text, as an object, or in base64."""
    assert [read(body) for body in sample(name)] == [LINK]


def test_raw_data_reads_the_same() -> None:
    """The event's data alone, the request itself, and its text."""
    assert [read(body) for body in sample("queue-raw-data")] == [LINK] * 3


def test_an_unlink_and_a_sync_are_read() -> None:
    """An unlink with ports removes those ports; a sync has none."""
    (unlink,) = map(read, sample("queue-unlink"))
    assert (unlink.action, unlink.link, unlink.until) == ("unlink", LINK.link, None)
    (sync,) = map(read, sample("queue-sync"))
    assert sync == sync_request(LINK.link, REGION, NOW)


def test_a_name_of_the_policy_needs_no_account() -> None:
    """With one, or where the policy has no such name, the request is bad, and the name is named. A look has none."""
    names = {"ledger": LEDGER}

    def known(message: Any) -> Message:
        return decode(json.dumps(message), region=REGION, now=NOW, names=names)

    assert known(less(to={"party": "ledger"})) == LINK
    assert json.loads(encode(LINK))["to"] == GOOD["to"]
    for party in ({"party": "ledgers"}, {"party": "ledger", "account": B}, {"party": APP.id}):
        with pytest.raises(BadRequest, match=f"to.party: '{party['party']}' is") as caught:
            known(less(to=party))
        assert (caught.value.known.source, caught.value.known.target) == (APP, None)
    with pytest.raises(BadRequest, match="party"):
        known(look(party={"party": "ledger"}))


def test_a_look_is_read() -> None:
    """At an instance or a group. One that has expired is read too: it is carried out once more."""
    first, expired = map(read_any, sample("queue-look"))
    expires = parse_instant("2026-11-25T07:05:00.922Z")
    assert first == Look("look-i-bp1created0000000000a", REGION, NEW, expires, 1) == read_any(LOOK)
    assert expired == Look("look-sg-bp15ed6xe1yxeycg7xxx", REGION, Party(A, LEDGER.id), NOW - 3600)


def test_a_look_may_name_any_account() -> None:
    """Whether it is home is judged later, so that the denial can be recorded."""
    request = read_any(look(party={"account": B, "party": "sg-b"}))
    assert isinstance(request, Look)
    assert request.party == Party(B, "sg-b")


@pytest.mark.parametrize("late", [301, 86400, 10**8])
def test_a_look_never_expires_in_the_queue(late: float) -> None:
    """Unlike a request."""
    assert isinstance(decode(json.dumps(LOOK), region=REGION, now=NOW + late), Look)


def test_a_look_for_another_region_is_denied() -> None:
    """The denial has the whole message."""
    with pytest.raises(DeniedRequest) as caught:
        read_any(look(region="cn-hangzhou"))
    assert caught.value.denial.reason.code == "different-region"
    assert isinstance(caught.value.request, Look)


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
    assert error.known.request_id.startswith(prefix)
    for good in (less("ports", "until", action="sync", request_id="tag-1"), less(request_id="TAG-1"), look()):
        assert read_any(good).request_id == good["request_id"]
    assert read(less(request_id="tag.1")).request_id == "tag.1"


@pytest.mark.parametrize("attempt", [0, 1, MAX_ATTEMPT])
def test_any_message_may_count_its_attempts(attempt: int) -> None:
    """From 0 to 10,000. It is written only if it is more than 0."""
    for message in (less(attempt=attempt), less("until", action="unlink", attempt=attempt), look(attempt=attempt)):
        request = read_any(message)
        assert request.attempt == attempt
        assert ("attempt" in json.loads(encode(request))) is (attempt > 0)
        assert read_any(encode(request)) == request


def test_a_message_is_never_written_with_an_attempt_that_cannot_be_read() -> None:
    """A sender may start at the highest count: when the message is put back, it stays there."""
    again = msgspec.structs.replace(read(less(attempt=MAX_ATTEMPT)), attempt=MAX_ATTEMPT + 1)
    assert read(encode(again)).attempt == MAX_ATTEMPT


@pytest.mark.parametrize("message", [less(expires_at="2026-11-25T08:00:00.123Z", attempt=2), LOOK])
def test_a_message_that_is_put_back_changes_in_nothing_but_its_attempt(message: dict[str, Any]) -> None:
    """Fractions of a second are kept too."""
    request = read_any(message)
    again = msgspec.structs.replace(request, attempt=request.attempt + 1)
    assert json.loads(encode(again)) == {**message, "attempt": message["attempt"] + 1}


def test_a_look_names_its_party_and_is_read_back() -> None:
    """The longest id of a party is cut, so that the request id has 48 characters."""
    long = Party(A, "sg-" + "z" * 60)
    posted = look_request(long, REGION, NOW + 300)
    assert posted.request_id == "look-sg-" + "z" * 40
    assert read_any(encode(posted)) == posted


def test_a_batch_is_read_message_by_message() -> None:
    """The invalid one in the middle does not affect the others."""
    first, bad, last = sample("queue-batch")
    assert read(first) == LINK
    assert refused(bad).known.request_id == "chg-1044"
    assert read(last).action == "unlink"


def test_a_message_cannot_name_a_role() -> None:
    """The queue carries no authority: roles come from the policy file only."""
    (body,) = sample("queue-bad-request")
    error = refused(body)
    assert error.field == "to"
    assert "unknown field `role`" in error.problem
    assert (error.known.request_id, error.known.source, error.known.target) == ("chg-1044", APP, None)


def test_the_expired_sample_is_denied() -> None:
    """The denial has the whole request, so that all of it can be recorded."""
    (body,) = sample("queue-expired")
    with pytest.raises(DeniedRequest) as caught:
        read(body)
    assert (caught.value.denial.reason.code, caught.value.request.request_id) == ("expired", "chg-1045")


def test_ports_until_reason_and_requested_by_are_optional() -> None:
    """Without ports a link is mutual."""
    request = read(less("ports", "until", "reason", "requested_by"))
    assert request.link == Link(APP, LEDGER)
    assert (request.until, request.justification, request.requested_by) == (None, "", "")


def test_two_instances_of_one_account_can_be_linked() -> None:
    """Both parties must be of one kind; their accounts may be equal."""
    request = read(less(**{"from": {"account": A, "party": "i-a"}, "to": {"account": A, "party": "i-b"}}))
    assert request.link.source == Party(A, "i-a")


def test_ports_are_unique_and_sorted() -> None:
    """So that equal links have equal ids."""
    request = read(less(ports=["udp/53", "tcp/22", "udp/53", "icmp"]))
    assert request.link.ports == (Port("icmp"), Port("tcp", 22, 22), Port("udp", 53, 53))


BAD: dict[str, tuple[object, str]] = {
    **{f"no {name}": (less(name), "body") for name in ("version", "request_id", "from", "expires_at")},
    **{f"look without {name}": (look(name), "body") for name in LOOK if name not in ("action", "attempt")},
    "version two": (less(version=2), "version"),
    "version true": (less(version=True), "version"),
    "version a text": (less(version="1"), "version"),
    "version 1.0": (json.dumps(GOOD).replace('"version": 1', '"version": 1.0'), "body"),
    "version 1e0": (json.dumps(GOOD).replace('"version": 1', '"version": 1e0'), "body"),
    "version of 5,000 digits": (json.dumps(GOOD).replace('"version": 1', '"version": ' + "1" * 5000), "body"),
    "request id empty": (less(request_id=""), "request_id"),
    "request id too long": (less(request_id="x" * 49), "request_id"),
    "request id with a space": (less(request_id="chg 1"), "request_id"),
    "request id with a tilde": (less(request_id="chg~20270101T000000Z"), "request_id"),
    "request id with a comma": (less(request_id="a,tag"), "request_id"),
    "request id with a line feed": (less(request_id="chg-1\n"), "request_id"),
    "attempt negative": (less(attempt=-1), "attempt"),
    "attempt too high": (less(attempt=10001), "attempt"),
    "attempt enormous": (json.dumps(GOOD)[:-1] + ', "attempt": 1000000000000}', "body"),
    "attempt true": (less(attempt=True), "attempt"),
    "attempt a text": (less(attempt="1"), "attempt"),
    "attempt null": (less(attempt=None), "attempt"),
    "attempt 1.0": (json.dumps(GOOD)[:-1] + ', "attempt": 1.0}', "body"),
    "look with ports": (look(ports=["tcp/1"]), "body"),
    "look with until": (look(until="2027-01-01T00:00:00Z"), "body"),
    "look with from": (look(**{"from": {"account": A, "party": "i-a"}}), "body"),
    "look with reason": (look(reason="again"), "body"),
    "look with requested_by": (look(requested_by="auto_link"), "body"),
    "look with a strange region": (look(region="cn qingdao"), "region"),
    "look with a strange request id": (look(request_id="look i"), "request_id"),
    "look at a text": (look(party=NEW.id), "party"),
    "look at no account": (look(party={"account": "home", "party": NEW.id}), "party.account"),
    "look at no party": (look(party={"account": A, "party": "eni-a"}), "party.party"),
    "look at more": (look(party={"account": A, "party": "i-a", "role": "r"}), "party"),
    "look far ahead": (look(expires_at="2026-11-26T07:05:01Z"), "expires_at"),
    "look without zone": (look(expires_at="2026-11-25T07:05:00"), "expires_at"),
    "look of attempt -1": (look(attempt=-1), "attempt"),
    "look in capitals": (look(action="Look"), "action"),
    "link with a party": (less(party={"account": A, "party": "i-a"}), "body"),
    "request id in other letters": (less(request_id="сhg-1"), "request_id"),
    "request id a number": (less(request_id=1042), "request_id"),
    "unknown action": (less(action="open"), "action"),
    "action in capitals": (less(action="LINK"), "action"),
    "region null": (less(region=None), "region"),
    "region strange": (less(region="cn-qingdao\n"), "region"),
    "from a text": (less(**{"from": f"{APP.id}@{A}"}), "from"),
    "from a list": (less(**{"from": [A, APP.id]}), "from"),
    "account a number": (less(**{"from": {"account": int(A), "party": APP.id}}), "body"),
    "account a small number": (less(**{"from": {"account": 1, "party": APP.id}}), "from.account"),
    "account too short": (less(**{"from": {"account": "1" * 14, "party": APP.id}}), "from.account"),
    "account a role": (less(**{"from": {"account": f"acs:ram::{A}:role/x", "party": APP.id}}), "from.account"),
    "party with account": (less(to={"account": B, "party": f"{LEDGER.id}@{B}"}), "to.party"),
    "party a star": (less(to={"account": B, "party": "*"}), "to.party"),
    "party in capitals": (less(to={"account": B, "party": "SG-DB"}), "to.party"),
    "party in other letters": (less(to={"account": B, "party": "ѕg-db"}), "to.party"),
    "party missing": (less(to={"account": B}), "to"),
    "party and more": (less(to={"account": B, "party": "sg-db", "role": "r"}), "to"),
    "mixed kinds": (less(to={"account": B, "party": "i-db"}), "to"),
    "ports empty": (less(ports=[]), "ports"),
    "ports null": (less(ports=None), "ports"),
    "ports a text": (less(ports="tcp/3306"), "ports"),
    "ports numbers": (less(ports=[3306]), "ports[0]"),
    "a port of none": (less(ports=["tcp/1", "tcp/0"]), "ports[1]"),
    "a port all": (less(ports=["all"]), "ports[0]"),
    "expires_at a number": (less(expires_at=1795593600), "body"),
    "expires_at without zone": (less(expires_at="2026-11-25T08:00:00"), "expires_at"),
    "expires_at no date": (less(expires_at="2026-02-30T08:00:00Z"), "expires_at"),
    "until null": (less(until=None), "until"),
    "until never": (less(until="never"), "until"),
    "reason too long": (less(reason="x" * 257), "reason"),
    "reason null": (less(reason=None), "reason"),
    "reason half a character": (less(reason="\ud800"), "reason"),
    "requested_by too long": (less(requested_by="x" * 257), "requested_by"),
    "unknown field": (less(external_id="x"), "body"),
    "unknown field of half a character": (less(**{"\ud800": 1}), "body"),
    "sync with ports": (less("until", action="sync"), "ports"),
    "sync with until": (less("ports", action="sync"), "until"),
    "unlink with until": (less(action="unlink"), "until"),
    "a key twice": (json.dumps(GOOD)[:-1] + ', "action": "unlink"}', "'action'"),
    "a key twice within": (json.dumps(GOOD).replace('"party"', '"account": "1", "party"', 1), "'account'"),
    "NaN": (json.dumps(GOOD)[:-1] + ', "x": NaN}', "body"),
    "Infinity": (json.dumps(GOOD)[:-1] + ', "x": -Infinity}', "body"),
    "a trailing comma": (json.dumps(GOOD)[:-1] + ",}", "body"),
    "two objects": (json.dumps(GOOD) * 2, "body"),
    "a list": ([GOOD], "body"),
    "null": ("null", "body"),
    "null in base64": (base64.b64encode(b"null"), "body"),
    "a list in base64": (base64.b64encode(json.dumps([GOOD]).encode()), "body"),
    "empty": ("", "body"),
    "not UTF-8": (json.dumps(GOOD).encode().replace(b"orders", b"\xff\xfe", 1), "body"),
    "UTF-16": (json.dumps(GOOD).encode("utf-16"), "body"),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "body"),
    "a byte order mark in base64": (base64.b64encode(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()), "body"),
    "half a character": ('{"a": "\ud800"}', "body"),
    "nested deeply": ('{"a":' * 10000, "body"),
    "too long": (json.dumps(GOOD) + " " * MAX_BYTES, "body"),
    "base64 of base64": (base64.b64encode(base64.b64encode(json.dumps(GOOD).encode())), "body"),
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
    whole = Known("chg-1042", "link", APP, LEDGER, "orders service reads the ledger", "team-orders")
    assert refused(less(ports=["tcp/0"])).known == whole
    known = refused(less(request_id="chg 1", action="open", to={"account": B, "party": "*"})).known
    assert known == msgspec.structs.replace(whole, request_id="", action="", target=None)
    assert refused("not JSON").known == refused([GOOD]).known == Known()
    assert refused(look(ports=[])).known == Known("look-i-bp1created0000000000a", "look")
    assert (
        refused(less(request_id=7, action=None, reason=["x"], requested_by={}, to=[], **{"from": 5})).known == Known()
    )
    assert len(refused(less(reason="x" * 257)).known.justification) == 256


@pytest.mark.parametrize("more", ['"action": "unlink"', '"ports": 1.5', '"ports": NaN', f'"ports": {"9" * 5000}'])
def test_the_sender_of_a_message_that_is_not_strict_json_is_recorded(more: str) -> None:
    """A duplicate key, or a number where none is allowed: the message is refused, and its record still has its id and parties."""
    known = refused(f"{json.dumps(GOOD)[:-1]}, {more}}}").known
    assert (known.request_id, known.source, known.target) == ("chg-1042", APP, LEDGER)


def test_a_hostile_field_name_cannot_fake_the_location_of_an_error() -> None:
    """It is escaped, and `field` names the part of the schema that it was in."""
    error = refused(less(**{"from": {"account": A, "party": "sg-a", "\u202ex` - at `$.\u202ey": 1}}))
    assert error.field == "from"
    assert "\\u202e" in error.problem


@pytest.mark.parametrize(("late", "denied"), [(0, False), (300, False), (300.001, True)])
def test_a_request_is_expired_once_it_is_more_than_five_minutes_past(late: float, denied: bool) -> None:
    """Clocks differ, and the queue redelivers."""
    request = json.dumps(less("until", expires_at="2026-11-25T08:00:00Z"))
    now = parse_instant("2026-11-25T08:00:00Z") + late
    if not denied:
        assert decode(request, region=REGION, now=now).request_id == "chg-1042"
        return
    with pytest.raises(DeniedRequest) as caught:
        decode(request, region=REGION, now=now)
    assert caught.value.denial.reason.code == "expired"


def test_expires_at_is_at_most_a_day_and_five_minutes_ahead() -> None:
    """One second more is a bad request: no message is valid for ever."""
    assert read(less(expires_at="2026-11-26T07:05:00Z")).request_id == "chg-1042"
    assert refused(less(expires_at="2026-11-26T07:05:01Z")).field == "expires_at"


def test_a_link_whose_end_is_past_is_expired() -> None:
    """`until` itself counts as past."""
    with pytest.raises(DeniedRequest) as caught:
        read(less(until="2026-11-25T07:00:00Z"))
    assert caught.value.denial.reason.code == "expired"
    assert read(less(until="2026-11-25T07:00:01Z")).until == NOW + 1


def test_a_request_for_another_region_is_denied() -> None:
    """The region is reported first, also if the request has expired."""
    with pytest.raises(DeniedRequest) as caught:
        read(less(region="cn-hangzhou", expires_at="2020-01-01T00:00:00Z"))
    assert caught.value.denial.reason.code == "different-region"
    assert "cn-hangzhou" in caught.value.denial.detail
    assert isinstance(caught.value.request, Request)
    assert caught.value.request.link == LINK.link


def test_base64_may_be_wrapped_into_lines() -> None:
    """As the base64 command writes it."""
    assert read(base64.encodebytes(json.dumps(GOOD).encode())) == LINK


def test_a_message_of_64_kb_is_read() -> None:
    """One byte more is refused."""
    text = json.dumps(GOOD)
    assert read(text + " " * (MAX_BYTES - len(text))) == LINK
    assert body_of(b"{" + b" " * (MAX_BYTES - 1))
    assert refused(b"{" + b" " * MAX_BYTES).problem == "longer than 64 KB"


def test_a_sync_has_one_id_for_a_pair_in_its_direction() -> None:
    """Whatever its ports; the opposite direction has another id. It expires after an hour."""
    sync = sync_request(Link(APP, LEDGER, (Port("tcp", 1, 1),)), REGION, NOW)
    assert sync.request_id == f"tag-{Link(APP, LEDGER).id(REGION, ordered=True)}"
    assert sync.request_id != sync_request(Link(LEDGER, APP), REGION, NOW).request_id
    assert (sync.action, sync.link, sync.expires_at) == ("sync", Link(APP, LEDGER), NOW + 3600)
    assert decode(encode(sync), region=REGION, now=NOW) == sync


def test_a_sweep_of_an_account_is_read_as_it_was_written() -> None:
    """The sample, and one with a cursor."""
    read = functools.partial(decode_sweep, region=REGION, accounts=[A, B])
    (body,) = sample("sweep-account")
    assert read(body) == SweepAccount(REGION, B, NOW, "")
    asked = SweepAccount(REGION, A, NOW + 0.5, {"began": 1_795_593_600, "buckets": [[1, "0" * 12, 0]]})
    assert read(encode(asked)) == asked
