"""The marker: rendered and parsed, and valid only on the rule that it was made for."""

from __future__ import annotations

import msgspec
import pytest
from link_peer.domain.marker import damaged, fits, owned, parse, render
from link_peer.domain.model import ALL, TAG, Claim, Marker, Party, Port, Rule, RuleKey

A, B = "1000000000000001", "1000000000000002"
REGION = "cn-qingdao"
ID = "0f4701091c58a844"
HEAD = f"link-peer/2 dep=prod home={A} id={ID}"
CHANGE = Claim("chg-1042")
UNTIL = Claim("chg-1042", 1798761600)

GROUP_KEY = RuleKey(Party(B, "sg-bp15ed6xe1yxeycg7xxx"), f"sg-bp1azkttqpldxgtedxxx@{A}", "", Port("tcp", 3306, 3306))
INSTANCE_KEY = RuleKey(Party(A, "sg-db"), "10.0.0.1/32", "10.0.0.2/32", ALL)


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        (Marker(A, "prod", ID, (TAG,)), f"{HEAD} by=tag"),
        (Marker(A, "prod", ID, (CHANGE,)), f"{HEAD} by=req:chg-1042"),
        (Marker(A, "prod", ID, (UNTIL,)), f"{HEAD} by=req:chg-1042~20270101T000000Z"),
        (Marker(A, "prod", ID, (Claim("b"), TAG, Claim("a"))), f"{HEAD} by=tag,req:a,req:b"),
        (Marker(A, "prod", ID, (TAG,), (Party(A, "i-a"), Party(A, "i-b"))), f"{HEAD} by=tag from=i-a to=i-b"),
        (Marker(A, "prod", ID, (TAG,), (Party(A, "i-a"), Party(B, "i-b"))), f"{HEAD} by=tag from=i-a to=i-b@{B}"),
        (Marker(A, "prod", ID, (TAG,), (Party(B, "i-b"), Party(A, "i-a"))), f"{HEAD} by=tag from=i-b@{B} to=i-a"),
        (Marker(A, "prod", ID, (TAG,), (Party(A, "i-a"), Party(A, "sg-a"))), f"{HEAD} by=tag from=i-a of=sg-a"),
        (
            Marker(A, "prod", ID, (TAG,), (Party(B, "i-b"), Party(B, "sg-b"))),
            f"{HEAD} by=tag from=i-b@{B} of=sg-b@{B}",
        ),
    ],
)
def test_a_marker_is_rendered_as_the_contract_says(marker: Marker, text: str) -> None:
    """The tag first, then requests by id; an instance's account only if it is not home. It is read back as the same."""
    assert render(marker) == text
    assert parse(text) == msgspec.structs.replace(marker, claims=tuple(sorted(marker.claims)))


def test_claims_are_read_in_any_order_and_returned_sorted() -> None:
    """So that a marker has one rendering."""
    marker = parse(f"{HEAD} by=req:b,tag,req:a")
    assert marker is not None
    assert marker.claims == (TAG, Claim("a"), Claim("b"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "allow the app", HEAD, f" {HEAD} by=tag", f"{HEAD}  by=tag"),
        *(
            f"{HEAD} by={claims}"
            for claims in ("", "tag ", "tag\n", "tag,", ",tag", "tag,tag", "Tag", "tag:x", "chg-1042")
        ),
        *(f"{HEAD} by=req:{name}" for name in ("", "a b", "a,req:a", "a,req:a~20270101T000000Z", "a" * 49, "ä")),
        *(
            f"{HEAD} by=req:a~{end}"
            for end in ("", "20270101", "20271301T000000Z", "20270101T000000Z~20270101T000000Z")
        ),
        f"{HEAD} by=tag~20270101T000000Z",
        *(f"{HEAD} by=tag {ends}" for ends in ("from=i-a", "to=i-b", "to=i-b from=i-a", "from=sg-a to=sg-b")),
        *(f"{HEAD} by=tag {ends}" for ends in (f"from=i-a of=sg-b@{B}", "from=i-a of=i-b", "from=sg-a of=sg-b")),
        *(f"{HEAD} by=tag from=i-a to=i-b{more}" for more in (f"@{A}", "@", "@12", " more")),
        f"{HEAD} by=tag reviewed by Li",
        *(f"link-peer/{version} dep=prod id={ID} by=tag" for version in (1, 2)),
        *(f"link-peer/{version} dep=prod home={A} id={ID} by=tag" for version in (1, 3)),
        *(f"link-peer/2 dep=prod home={home} id={ID} by=tag" for home in ("", A[:14], "1" * 21, "１000000000000001")),
        *(f"link-peer/2 dep={deployment} home={A} id={ID} by=tag" for deployment in ("PROD", "", "p" * 33)),
        *(f"link-peer/2 dep=prod home={A} id={number} by=tag" for number in (ID.upper(), ID[:-1])),
        *(f"link-peer/2 {words} by=tag" for words in (f"home={A} dep=prod id={ID}", f"id={ID} dep=prod home={A}")),
        f"{HEAD} by=" + ",".join(f"req:{'x' * 40}{n}" for n in range(12)),
    ],
)
def test_any_other_text_is_not_a_marker(text: str) -> None:
    """A rule with such a Description belongs to a person."""
    assert parse(text) is None


def rule(key: RuleKey | None, description: str, policy: str = "accept") -> Rule:
    return Rule(Party(A, "sg-db") if key is None else key.group, "sgr-1", key, policy, 100, description)


def test_a_rule_is_ours_by_its_marker_home_deployment_and_recomputed_id() -> None:
    """With the rule of the published vector."""
    assert owned(rule(GROUP_KEY, f"{HEAD} by=tag"), "prod", REGION, A) == Marker(A, "prod", ID, (TAG,))


def test_an_instance_rule_is_ours_with_its_ends() -> None:
    """The ends name the instances whose addresses it has."""
    marker = Marker(A, "prod", INSTANCE_KEY.id(A, "prod", REGION), (TAG,), (Party(A, "i-a"), Party(A, "i-b")))
    assert owned(rule(INSTANCE_KEY, render(marker)), "prod", REGION, A) == marker


def text_of(key: RuleKey, home: str = A, deployment: str = "prod", ends: str = "") -> str:
    return f"link-peer/2 dep={deployment} home={home} id={key.id(home, deployment, REGION)} by=tag{ends}"


NOT_OURS = {
    "a person's description": rule(GROUP_KEY, "by hand"),
    "a form we never write": rule(None, f"{HEAD} by=tag"),
    "a drop": rule(GROUP_KEY, f"{HEAD} by=tag", "drop"),
    "another deployment": rule(GROUP_KEY, text_of(GROUP_KEY, deployment="test")),
    "another home": rule(GROUP_KEY, text_of(GROUP_KEY, home=B)),
    "another home's id": rule(GROUP_KEY, f"link-peer/2 dep=prod home={A} id={GROUP_KEY.id(B, 'prod', REGION)} by=tag"),
    "version 1": rule(GROUP_KEY, "link-peer/1 dep=prod id=daed3c026b1eb6c4 by=tag"),
    "a marker with a note": rule(GROUP_KEY, f"{HEAD} by=tag reviewed"),
    "a marker copied to another port": rule(
        msgspec.structs.replace(GROUP_KEY, port=Port("tcp", 22, 22)), f"{HEAD} by=tag"
    ),
    "a marker copied to another group": rule(
        msgspec.structs.replace(GROUP_KEY, group=Party(B, "sg-x")), f"{HEAD} by=tag"
    ),
    "a marker copied to another source": rule(msgspec.structs.replace(GROUP_KEY, source=f"sg-x@{A}"), f"{HEAD} by=tag"),
    "a group rule with ends": rule(GROUP_KEY, f"{HEAD} by=tag from=i-a to=i-b"),
    "an instance rule without ends": rule(INSTANCE_KEY, text_of(INSTANCE_KEY)),
}


@pytest.mark.parametrize("theirs", NOT_OURS.values(), ids=NOT_OURS)
def test_every_other_rule_belongs_to_a_person(theirs: Rule) -> None:
    """It is never changed or removed."""
    assert owned(theirs, "prod", REGION, A) is None


def test_a_rule_of_another_region_is_not_ours() -> None:
    """The region is part of the id."""
    assert owned(rule(GROUP_KEY, f"{HEAD} by=tag"), "prod", "cn-hangzhou", A) is None


DAMAGED = [
    "a form we never write",
    "a drop",
    "another home's id",
    "a marker with a note",
    "a marker copied to another port",
    "a marker copied to another group",
    "a marker copied to another source",
    "a group rule with ends",
    "an instance rule without ends",
]


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_rule_that_names_our_deployment_and_home_but_is_not_ours_is_damaged(name: str) -> None:
    """It is left alone and reported. A person's rule, another deployment's and another home's are not reported."""
    assert damaged(NOT_OURS[name], "prod", REGION, A) is (name in DAMAGED)


@pytest.mark.parametrize(
    ("description", "reported"),
    [
        (f"{HEAD} by=tag", False),
        (f"{HEAD} by=tag,tag", True),
        (f"{HEAD} by=tag\n", True),
        (f"link-peer/3 dep=prod home={A}", True),
        (f"reviewed: {HEAD} by=tag", False),
        (f"link-peer dep=prod home={A}", False),
        (f"link-peer/2 dep=prod home={A}0", False),
        (f"link-peer/2 dep=production home={A}", False),
        ("", False),
    ],
)
def test_a_description_that_starts_like_ours_is_reported_unless_it_is_the_rules_own(
    description: str, reported: bool
) -> None:
    """It must start with `link-peer/` and have both words: our deployment and our home."""
    assert damaged(rule(GROUP_KEY, description), "prod", REGION, A) is reported


def long(length: int, *claims: Claim) -> Marker:
    """A marker whose Description has this length."""
    marker = Marker(A, "prod", ID, (*claims, *(Claim(f"{number:048d}") for number in range(8))))
    rest = length - len(render(marker))
    assert 5 < rest <= 54
    filled = msgspec.structs.replace(marker, claims=(*marker.claims, Claim("x" * (rest - 5))))
    assert len(render(filled)) == length
    return filled


def test_a_description_holds_512_characters_and_keeps_room_for_the_tag() -> None:
    """A marker of 508 characters has no room left for `tag,`; with the tag, all 512 are used."""
    assert fits(long(508))
    assert not fits(long(509))
    assert fits(long(512, TAG))
    assert not fits(long(513, TAG))
    assert parse(render(long(512))) is not None
    assert parse(render(long(513))) is None
