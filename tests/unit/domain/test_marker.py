"""The marker: rendered and parsed, and valid only on the rule that it was made for."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_peer.domain.marker import fits, owned, parse, render
from link_peer.domain.model import ALL, TAG, Claim, Marker, Party, Port, Rule, RuleKey

A, B = "1000000000000001", "1000000000000002"
REGION = "cn-qingdao"
ID = "daed3c026b1eb6c4"
HEAD = f"link-peer/1 dep=prod id={ID}"
CHANGE = Claim("chg-1042")
UNTIL = Claim("chg-1042", 1798761600)

GROUP_KEY = RuleKey(Party(B, "sg-bp15ed6xe1yxeycg7xxx"), f"sg-bp1azkttqpldxgtedxxx@{A}", "", Port("tcp", 3306, 3306))
INSTANCE_KEY = RuleKey(Party(A, "sg-db"), "10.0.0.1/32", "10.0.0.2/32", ALL)

reasons = st.one_of(
    st.just(TAG),
    st.builds(
        Claim,
        st.from_regex(r"[A-Za-z0-9._-]{1,48}", fullmatch=True),
        st.none() | st.integers(0, 253402300799),
    ),
)
ends = st.tuples(*[st.builds(Party, st.sampled_from([A, B]), st.from_regex(r"i-[0-9a-z]{1,20}", fullmatch=True))] * 2)
markers = st.builds(
    Marker,
    st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    st.lists(reasons, min_size=1, max_size=4, unique_by=lambda reason: reason.request).map(
        lambda found: tuple(sorted(found, key=lambda reason: reason.request))
    ),
    st.none() | ends,
)


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        (Marker("prod", ID, (TAG,)), f"{HEAD} by=tag"),
        (Marker("prod", ID, (CHANGE,)), f"{HEAD} by=req:chg-1042"),
        (Marker("prod", ID, (UNTIL,)), f"{HEAD} by=req:chg-1042~20270101T000000Z"),
        (Marker("prod", ID, (Claim("b"), TAG, Claim("a"))), f"{HEAD} by=tag,req:a,req:b"),
        (Marker("prod", ID, (TAG,), (Party(A, "i-a"), Party(A, "i-b"))), f"{HEAD} by=tag from=i-a to=i-b"),
        (Marker("prod", ID, (TAG,), (Party(A, "i-a"), Party(B, "i-b"))), f"{HEAD} by=tag from=i-a to=i-b@{B}"),
        (Marker("prod", ID, (TAG,), (Party(B, "i-b"), Party(A, "i-a"))), f"{HEAD} by=tag from=i-b@{B} to=i-a"),
    ],
)
def test_a_marker_is_rendered_as_the_contract_says(marker: Marker, text: str) -> None:
    """The tag first, then requests by id; an account only if it is not home."""
    assert render(marker, A) == text


@settings(max_examples=80, derandomize=True, deadline=None)
@given(markers)
def test_a_rendered_marker_parses_to_the_same_marker(marker: Marker) -> None:
    """Unless it is too long for a Description."""
    text = render(marker, A)
    assert parse(text, A) == (marker if fits(text) else None)


def test_claims_are_read_in_any_order_and_returned_sorted() -> None:
    """So that a marker has one rendering."""
    marker = parse(f"{HEAD} by=req:b,tag,req:a", A)
    assert marker is not None
    assert marker.claims == (TAG, Claim("a"), Claim("b"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "allow the app",
        HEAD,
        f"{HEAD} by=",
        f"{HEAD} by=tag ",
        f" {HEAD} by=tag",
        f"{HEAD} by=tag\n",
        f"{HEAD}  by=tag",
        f"{HEAD} by=tag,",
        f"{HEAD} by=,tag",
        f"{HEAD} by=tag,tag",
        f"{HEAD} by=Tag",
        f"{HEAD} by=tag:x",
        f"{HEAD} by=chg-1042",
        f"{HEAD} by=req:",
        f"{HEAD} by=req:a b",
        f"{HEAD} by=req:a,req:a",
        f"{HEAD} by=req:a,req:a~20270101T000000Z",
        f"{HEAD} by=req:{'a' * 49}",
        f"{HEAD} by=req:a~",
        f"{HEAD} by=req:a~20270101",
        f"{HEAD} by=req:a~20271301T000000Z",
        f"{HEAD} by=req:a~20270101T000000Z~20270101T000000Z",
        f"{HEAD} by=tag~20270101T000000Z",
        f"{HEAD} by=req:ä",
        f"{HEAD} by=tag from=i-a",
        f"{HEAD} by=tag to=i-b",
        f"{HEAD} by=tag to=i-b from=i-a",
        f"{HEAD} by=tag from=sg-a to=sg-b",
        f"{HEAD} by=tag from=i-a to=i-b@{A}",
        f"{HEAD} by=tag from=i-a to=i-b@",
        f"{HEAD} by=tag from=i-a to=i-b@12",
        f"{HEAD} by=tag from=i-a to=i-b more",
        f"link-peer/2 dep=prod id={ID} by=tag",
        f"link-peer/1 dep=PROD id={ID} by=tag",
        f"link-peer/1 dep= id={ID} by=tag",
        f"link-peer/1 dep={'p' * 33} id={ID} by=tag",
        f"link-peer/1 dep=prod id={ID.upper()} by=tag",
        f"link-peer/1 dep=prod id={ID[:-1]} by=tag",
        f"link-peer/1 id={ID} dep=prod by=tag",
        f"{HEAD} by=" + ",".join(f"req:{'x' * 40}{n}" for n in range(12)),
    ],
)
def test_any_other_text_is_not_a_marker(text: str) -> None:
    """A rule with such a Description belongs to a person."""
    assert parse(text, A) is None


@settings(max_examples=60, derandomize=True, deadline=None)
@given(markers, st.integers(0, 200), st.characters())
def test_a_marker_with_an_inserted_character_is_not_a_marker(marker: Marker, place: int, character: str) -> None:
    """Only ASCII is valid; hostile text never raises."""
    text = render(marker, A)
    place %= len(text) + 1
    read = parse(text[:place] + character + text[place:], A)
    assert read is None or character.isascii()


def rule(key: RuleKey | None, description: str, policy: str = "accept") -> Rule:
    return Rule(Party(A, "sg-db") if key is None else key.group, "sgr-1", key, policy, 100, description)


def test_a_rule_is_ours_by_its_marker_deployment_and_recomputed_id() -> None:
    """With the rule of the published vector."""
    assert owned(rule(GROUP_KEY, f"{HEAD} by=tag"), "prod", REGION, A) == Marker("prod", ID, (TAG,))


def test_an_instance_rule_is_ours_with_its_ends() -> None:
    """The ends name the instances whose addresses it has."""
    marker = Marker("prod", INSTANCE_KEY.id("prod", REGION), (TAG,), (Party(A, "i-a"), Party(A, "i-b")))
    assert owned(rule(INSTANCE_KEY, render(marker, A)), "prod", REGION, A) == marker


IN_ID = INSTANCE_KEY.id("prod", REGION)
NOT_OURS = {
    "a person's description": rule(GROUP_KEY, "by hand"),
    "a form we never write": rule(None, f"{HEAD} by=tag"),
    "a drop": rule(GROUP_KEY, f"{HEAD} by=tag", "drop"),
    "another deployment": rule(GROUP_KEY, f"link-peer/1 dep=test id={GROUP_KEY.id('test', REGION)} by=tag"),
    "a marker copied to another port": rule(
        msgspec.structs.replace(GROUP_KEY, port=Port("tcp", 22, 22)), f"{HEAD} by=tag"
    ),
    "a marker copied to another group": rule(
        msgspec.structs.replace(GROUP_KEY, group=Party(B, "sg-x")), f"{HEAD} by=tag"
    ),
    "a marker copied to another source": rule(msgspec.structs.replace(GROUP_KEY, source=f"sg-x@{A}"), f"{HEAD} by=tag"),
    "a group rule with ends": rule(GROUP_KEY, f"{HEAD} by=tag from=i-a to=i-b"),
    "an instance rule without ends": rule(INSTANCE_KEY, f"link-peer/1 dep=prod id={IN_ID} by=tag"),
}


@pytest.mark.parametrize("theirs", NOT_OURS.values(), ids=NOT_OURS)
def test_every_other_rule_belongs_to_a_person(theirs: Rule) -> None:
    """It is never changed or removed."""
    assert owned(theirs, "prod", REGION, A) is None


def test_a_rule_of_another_region_is_not_ours() -> None:
    """The region is part of the id."""
    assert owned(rule(GROUP_KEY, f"{HEAD} by=tag"), "prod", "cn-hangzhou", A) is None


def test_a_description_holds_512_characters() -> None:
    """One more does not fit."""
    assert fits("x" * 512)
    assert not fits("x" * 513)
