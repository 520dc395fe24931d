"""The values: ids that other programs compute too, and how ports are written."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from link_peer.domain.errors import token_expired
from link_peer.domain.model import ALL, TAG, Claim, Link, Marker, Party, Port, Rule, RuleKey, Traffic
from link_peer.domain.policy import AccountPolicy, GroupSet, Policy
from link_peer.domain.request import look_request, sync_request
from link_peer.domain.tags import parse_port

A, B = "1000000000000001", "1000000000000002"
APP, DB = Party(A, "sg-bp1azkttqpldxgtedxxx"), Party(B, "sg-bp15ed6xe1yxeycg7xxx")
REGION = "cn-qingdao"
MYSQL = Port("tcp", 3306, 3306)
VECTOR = "0f4701091c58a844"  # of the contract, section 4


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_rule_id_is_the_published_vector() -> None:
    """Other programs that compute ids can compare theirs with this vector of the contract."""
    key = RuleKey(DB, f"{APP.id}@{A}", "", MYSQL)
    assert key.id(A, "prod", REGION) == VECTOR


def test_rule_id_of_an_instance_rule_includes_both_addresses() -> None:
    """Source and destination, in the order of the contract."""
    key = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL)
    text = f"link-peer/2|{A}|prod|{REGION}|{B}/{DB.id}|10.0.0.1/32|10.0.0.2/32|all|-1/-1"
    assert key.id(A, "prod", REGION) == sha(text)


def test_link_id_is_direction_and_sorted_ports() -> None:
    """One way: from comes first, ports are sorted as strings."""
    link = Link(APP, DB, (Port("udp", 53, 53), MYSQL, Port("icmp")))
    assert link.id(REGION) == sha(f"{REGION}|{A}/{APP.id}|{B}/{DB.id}|icmp+tcp/3306+udp/53")
    assert link.id(REGION) != Link(DB, APP, link.ports).id(REGION)


def test_mutual_link_id_is_the_same_from_both_sides() -> None:
    """The smaller account/party comes first, unless `ordered` is set."""
    link, back = Link(APP, DB), Link(DB, APP)
    assert link.mutual
    assert link.id(REGION) == back.id(REGION) == sha(f"{REGION}|{A}/{APP.id}|{B}/{DB.id}|mutual")
    assert back.id(REGION, ordered=True) == sha(f"{REGION}|{B}/{DB.id}|{A}/{APP.id}|mutual")


@pytest.mark.parametrize(
    ("port", "text", "api"),
    [
        (MYSQL, "tcp/3306", "3306/3306"),
        (Port("tcp", 8000, 8010), "tcp/8000-8010", "8000/8010"),
        (Port("icmp"), "icmp", "-1/-1"),
        (ALL, "all", "-1/-1"),
    ],
)
def test_ports_are_spelled_for_people_and_for_the_api(port: Port, text: str, api: str) -> None:
    """Tags and records use one spelling, the API the other."""
    assert (str(port), port.range) == (text, api)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("tcp/1-5", "tcp/5-9", True),
        ("tcp/1-5", "tcp/6-9", False),
        ("tcp/1-9", "tcp/4", True),
        ("tcp/1-5", "udp/1-5", False),
        ("icmp", "icmp", True),
    ],
)
def test_ports_overlap_where_they_have_a_packet_in_common(one: str, other: str, overlap: bool) -> None:
    """In either order."""
    ports = parse_port(one), parse_port(other)
    assert [a.overlaps(b) for a, b in (ports, ports[::-1])] == [overlap] * 2


def test_a_part_of_a_link_is_for_one_instance_of_its_source() -> None:
    """Which is in the source's account, and admitted in the group's place."""
    link, part = Link(APP, DB, (MYSQL,)), Link(APP, DB, (MYSQL,), "i-a")
    assert (part.whole, part.asker, part.parties) == (link, Party(A, "i-a"), (APP, DB, Party(A, "i-a")))
    assert (link.whole, link.asker, link.parties) == (link, APP, (APP, DB))


def test_claims_have_one_order() -> None:
    """By request; of one request, which someone may have written twice, the later end last, and none last of all."""
    ordered = [TAG, Claim("a", 0), Claim("a", 5), Claim("a"), Claim("b", 1)]
    for some in itertools.permutations(ordered):
        assert sorted(some) == ordered
    assert not Claim() > TAG
    followed = [Marker(A, "prod", "", claims).is_followed for claims in ((), (TAG,), (TAG, Claim("a")))]
    assert followed == [False, False, True]


def test_the_packets_of_a_rule_are_those_of_its_key_or_what_it_says_besides() -> None:
    """A rule of a kind that we never write has no key."""
    other = Traffic("egress", "10.0.0.0/8", "", None)
    key = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", MYSQL)
    assert Rule(DB, "", None, "accept", 1, other=other).traffic is other
    assert Rule(DB, "", key, "accept", 1, other=other).traffic == Traffic(
        "ingress", "10.0.0.1/32", "10.0.0.2/32", MYSQL
    )


def test_a_policy_knows_its_home_its_tags_and_its_queues() -> None:
    """Home is the account without a role."""
    policy = Policy(
        "prod",
        {B: AccountPolicy("b", "role", queue="b-requests"), A: AccountPolicy("a")},
        sets={"x": GroupSet(A, {"tier": "1", "env": "x"}), "y": GroupSet(A, {"env": "y"})},
        names={"ledger": DB},
    )
    keys = policy.keys
    assert (policy.home, policy.bound_queues) == (A, {"b-requests": B})
    assert (keys.peer, keys.managed, keys.sets, keys.names) == (
        "link-peer",
        f"link-managed.prod.{A}",
        ("env", "tier"),
        {"ledger": DB},
    )
    assert Policy("prod", policy.accounts, tag_prefix="acme").keys.peer == "acme-peer"


def test_messages_that_look_again_carry_an_id_of_the_pair_or_the_party() -> None:
    """A pair has one id in each direction, whatever its ports."""
    sync = sync_request(Link(DB, APP, (MYSQL,)), REGION, 1_000)
    assert (sync.action, sync.link, sync.expires_at) == ("sync", Link(DB, APP), 4_600)
    assert sync.request_id == f"tag-{Link(DB, APP).id(REGION, ordered=True)}"
    look = look_request(Party(A, "i-" + "z" * 60), REGION, 1_000)
    assert (look.party.id, look.request_id) == ("i-" + "z" * 60, "look-i-" + "z" * 41)


def test_an_expired_token_is_told_by_the_code_of_any_service() -> None:
    codes = "InvalidSecurityToken.Expired SecurityTokenExpired Expired InvalidSecurityToken ExpiredSecurityToken"
    assert [token_expired(code) for code in codes.split()] == [True, True, False, False, False]
