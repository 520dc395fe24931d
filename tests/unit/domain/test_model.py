"""The values: ids that other programs compute too, and how ports are written."""

from __future__ import annotations

import hashlib

import pytest
from link_peer.domain.model import ALL, Link, Party, Port, RuleKey

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
