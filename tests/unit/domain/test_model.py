"""The values: ids that other programs compute too, and how ports are written."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from link_peer.domain.model import ALL, TAG, Claim, Link, Marker, Party, Port, RuleKey, ports_text

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


@pytest.mark.parametrize(
    "other",
    [
        RuleKey(APP, f"{APP.id}@{A}", "", MYSQL),
        RuleKey(DB, f"{APP.id}@{B}", "", MYSQL),
        RuleKey(DB, f"{APP.id}@{A}", "10.0.0.1/32", MYSQL),
        RuleKey(DB, f"{APP.id}@{A}", "", Port("udp", 3306, 3306)),
        RuleKey(DB, f"{APP.id}@{A}", "", Port("tcp", 3306, 3307)),
    ],
)
def test_rule_id_differs_with_every_part(other: RuleKey) -> None:
    """So a marker that is copied to another rule is not ours there."""
    assert other.id(A, "prod", REGION) != VECTOR


def test_rule_id_differs_between_homes_deployments_and_regions() -> None:
    """Two deployments never own each other's rules, and neither do two homes that use one deployment name."""
    key = RuleKey(DB, f"{APP.id}@{A}", "", MYSQL)
    contexts = [(A, "prod", REGION), (B, "prod", REGION), (A, "test", REGION), (A, "prod", "cn-hangzhou")]
    assert len({key.id(*context) for context in contexts}) == 4


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


def test_ports_text_names_each_port_once_or_says_mutual() -> None:
    """Sorted as strings: tcp/22 after tcp/1000."""
    assert ports_text([Port("tcp", 22, 22), Port("tcp", 1000, 1000), Port("tcp", 22, 22)]) == "tcp/1000+tcp/22"
    assert ports_text([]) == "mutual"


def test_a_party_is_a_group_or_an_instance() -> None:
    """By its id; shown with its account."""
    assert APP.is_group
    assert not Party(A, "i-bp1").is_group
    assert str(APP) == f"{APP.id}@{A}"


def test_only_the_claim_without_a_request_is_the_tags() -> None:
    """TAG is that claim."""
    assert TAG.is_tag
    assert not Claim("chg-1").is_tag


def test_values_are_frozen() -> None:
    """No caller can change a value that another one holds."""
    marker = Marker(A, "prod", "0" * 16, (TAG,))
    with pytest.raises(AttributeError):
        marker.id = "1"  # type: ignore[misc]
    assert msgspec.structs.replace(marker, id="1" * 16) != marker
