"""The marker: rendered and parsed, and valid only on the rule that it was made for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.marker import claims_text, damaged, fits, joined, owned, parse, render
from link_peer.domain.model import ALL, TAG, Claim, Marker, Party, Port, Rule, RuleKey

A, B = "1000000000000001", "1000000000000002"
REGION = "cn-qingdao"
ID = "0f4701091c58a844"
HEAD = f"link-peer/2 dep=prod home={A} id={ID}"
CHANGE = Claim("chg-1042")
UNTIL = Claim("chg-1042", 1798761600)

GROUP_KEY = RuleKey(Party(B, "sg-bp15ed6xe1yxeycg7xxx"), f"sg-bp1azkttqpldxgtedxxx@{A}", "", Port("tcp", 3306, 3306))
ADDRESS_KEY = RuleKey(Party(A, "sg-db"), "10.0.0.1/32", "", ALL)
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
        (
            Marker(A, "prod", ID, (TAG,), (Party(B, "i-b"), Party(B, "sg-b")), is_egress=True),
            f"{HEAD} by=tag to=i-b@{B} of=sg-b@{B}",
        ),
        (Marker(A, "prod", ID, (TAG,), (Party(A, "i-b"), Party(A, "i-b")), is_egress=True), f"{HEAD} by=tag to=i-b"),
    ],
)
def test_a_marker_is_rendered_as_the_contract_says(marker: Marker, text: str) -> None:
    """The tag first, then requests by id; an instance's account only if it is not home. It is read back as the same."""
    assert render(marker) == text
    assert parse(text) == msgspec.structs.replace(marker, claims=tuple(sorted(marker.claims)))


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
        *(
            f"{HEAD} by=tag {ends}"
            for ends in ("from=i-a", "to=i-b to=i-b", "to=sg-b", "to=i-b from=i-a", "from=sg-a to=sg-b")
        ),
        *(
            f"{HEAD} by=tag {ends}"
            for ends in (
                f"from=i-a of=sg-b@{B}",
                f"to=i-a of=sg-b@{B}",
                "to=i-a of=i-b",
                "from=i-a of=i-b",
                "from=sg-a of=sg-b",
            )
        ),
        *(f"{HEAD} by=tag from=i-a to=i-b{tail}" for tail in (f"@{A}", "@", "@12", " more")),
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
    """With the rule of the published vector, and with one that names its instances. The region is part of the id."""
    marker = Marker(A, "prod", INSTANCE_KEY.id(A, "prod", REGION), (TAG,), (Party(A, "i-a"), Party(A, "i-b")))
    assert owned(rule(INSTANCE_KEY, render(marker)), "prod", REGION, A) == marker
    assert owned(rule(GROUP_KEY, f"{HEAD} by=tag"), "prod", REGION, A) == Marker(A, "prod", ID, (TAG,))
    assert owned(rule(GROUP_KEY, f"{HEAD} by=tag"), "prod", "cn-hangzhou", A) is None
    by_address = Marker(A, "prod", ADDRESS_KEY.id(A, "prod", REGION), (TAG,), (Party(A, "i-a"), Party(A, "sg-a")))
    assert owned(rule(ADDRESS_KEY, render(by_address)), "prod", REGION, A) == by_address
    assert not damaged(rule(GROUP_KEY, f"{HEAD} by=tag"), "prod", REGION, A)


def text_of(key: RuleKey, home: str = A, deployment: str = "prod") -> str:
    return f"link-peer/2 dep={deployment} home={home} id={key.id(home, deployment, REGION)} by=tag"


def copied(**changes: Any) -> Rule:
    """Our marker on another rule."""
    return rule(msgspec.structs.replace(GROUP_KEY, **changes), f"{HEAD} by=tag")


NOT_OURS = {
    "a person's description": (rule(GROUP_KEY, "by hand"), False),
    "a form we never write": (rule(None, f"{HEAD} by=tag"), True),
    "a drop": (rule(GROUP_KEY, f"{HEAD} by=tag", "drop"), True),
    "another deployment": (rule(GROUP_KEY, text_of(GROUP_KEY, deployment="test")), False),
    "another home": (rule(GROUP_KEY, text_of(GROUP_KEY, home=B)), False),
    "another home with our id": (rule(GROUP_KEY, text_of(GROUP_KEY).replace(f"home={A}", f"home={B}")), False),
    "another deployment with our id": (rule(GROUP_KEY, text_of(GROUP_KEY).replace("dep=prod", "dep=test")), False),
    "another home's id": (rule(GROUP_KEY, text_of(GROUP_KEY, home=B).replace(f"home={B}", f"home={A}")), True),
    "version 1": (rule(GROUP_KEY, "link-peer/1 dep=prod id=daed3c026b1eb6c4 by=tag"), False),
    "a marker with a note": (rule(GROUP_KEY, f"{HEAD} by=tag reviewed"), True),
    "a marker copied to another port": (copied(port=Port("tcp", 22, 22)), True),
    "a marker copied to another group": (copied(group=Party(B, "sg-x")), True),
    "a marker copied to another source": (copied(source=f"sg-x@{A}"), True),
    "a group rule with ends": (rule(GROUP_KEY, f"{HEAD} by=tag from=i-a to=i-b"), True),
    "an instance rule for a group": (rule(INSTANCE_KEY, f"{text_of(INSTANCE_KEY)} from=i-a of=sg-a"), True),
    "a rule by address for an instance": (rule(ADDRESS_KEY, f"{text_of(ADDRESS_KEY)} from=i-a to=i-b"), True),
    "an instance rule without ends": (rule(INSTANCE_KEY, text_of(INSTANCE_KEY)), True),
    "a tag twice": (rule(GROUP_KEY, f"{HEAD} by=tag,tag"), True),
    "a newer version": (rule(GROUP_KEY, f"link-peer/3 dep=prod home={A}"), True),
    "a word before ours": (rule(GROUP_KEY, f"reviewed: {HEAD} by=tag"), False),
    "no version": (rule(GROUP_KEY, f"link-peer dep=prod home={A}"), False),
    "a longer home": (rule(GROUP_KEY, f"link-peer/2 dep=prod home={A}0"), False),
    "a longer deployment": (rule(GROUP_KEY, f"link-peer/2 dep=production home={A}"), False),
}


@pytest.mark.parametrize(("theirs", "reported"), NOT_OURS.values(), ids=NOT_OURS)
def test_every_other_rule_belongs_to_a_person(theirs: Rule, reported: bool) -> None:
    """It is never changed or removed. It is reported as damaged if it names our deployment and home: a person's rule,
    another deployment's and another home's are not."""
    assert owned(theirs, "prod", REGION, A) is None
    assert damaged(theirs, "prod", REGION, A) is reported


@pytest.mark.parametrize(
    ("claims", "copied", "claims_after"),
    [
        ([TAG], [Claim("a")], "tag,req:a"),
        ([Claim("b", 0)], [TAG, Claim("b"), Claim("a")], "tag,req:a,req:b~19700101T000000Z"),
        ([Claim("a")], [Claim("a", 9)], "req:a"),
    ],
)
def test_a_marker_takes_the_claims_of_a_copy_of_its_rule(
    claims: list[Claim], copied: list[Claim], claims_after: str
) -> None:
    """One for each request: its own wins. A copy for other instances has nothing to do with it."""
    ends = Party(A, "i-a"), Party(A, "i-b")
    marker, copy = (Marker(A, "prod", ID, tuple(claim_list), ends) for claim_list in (claims, copied))
    assert claims_text(joined(marker, copy).claims) == claims_after
    assert joined(marker, msgspec.structs.replace(copy, ends=ends[::-1])) is marker
    assert joined(marker, marker) is marker


def long(length: int, *claims: Claim) -> Marker:
    """A marker whose Description has this length."""
    marker = Marker(A, "prod", ID, (*claims, *(Claim(f"{number:048d}") for number in range(8))))
    room = length - len(render(marker))
    assert 5 < room <= 54
    filled = msgspec.structs.replace(marker, claims=(*marker.claims, Claim("x" * (room - 5))))
    assert len(render(filled)) == length
    return filled


def test_a_description_holds_512_characters_and_keeps_room_for_the_tag() -> None:
    """A marker of 508 characters has no room left for `tag,`; with the tag, all 512 are used."""
    assert fits(long(508))
    assert not fits(long(509))
    assert fits(long(512, TAG))
    assert not fits(long(513, TAG))
    assert joined(long(508), Marker(A, "prod", ID, (Claim("y"),))) == long(508)
    assert parse(render(long(512))) is not None
    assert parse(render(long(513))) is None
