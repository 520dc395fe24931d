"""The values: ids that other programs compute too, and the order of claims."""

from __future__ import annotations

import hashlib
import itertools

from link_peer.domain.errors import token_expired
from link_peer.domain.model import ALL, TAG, Claim, Link, Marker, Party, Port, RuleKey

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


def test_claims_have_one_order() -> None:
    """By request; of one request, which someone may have written twice, the later end last, and none last of all."""
    ordered = [TAG, Claim("a", 0), Claim("a", 5), Claim("a"), Claim("b", 1)]
    for permutation in itertools.permutations(ordered):
        assert sorted(permutation) == ordered
    assert not Claim() > TAG
    followed = [Marker(A, "prod", "", claims).is_followed for claims in ((), (TAG,), (TAG, Claim("a")))]
    assert followed == [False, False, True]


def test_an_expired_token_is_told_by_the_code_of_any_service() -> None:
    codes = "InvalidSecurityToken.Expired SecurityTokenExpired Expired InvalidSecurityToken ExpiredSecurityToken"
    assert [token_expired(code) for code in codes.split()] == [True, True, False, False, False]


def test_people_read_what_a_rule_admits_in_its_direction() -> None:
    group = Party("1000000000000001", "sg-app")
    assert RuleKey(group, "", "10.0.0.1/32", Port("tcp", 22, 22)).traffic_text == "tcp/22 out to 10.0.0.1/32"
    assert RuleKey(group, "10.0.0.2/32", "10.0.0.1/32", Port("tcp", 22, 22)).traffic_text == (
        "tcp/22 from 10.0.0.2/32 to 10.0.0.1/32"
    )
