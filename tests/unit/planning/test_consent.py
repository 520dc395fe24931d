"""Consent as tables: which entries accept which source, and on which ports."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.model import ALL, Party, Port, Ports
from link_peer.domain.policy import Allow, Limits
from link_peer.domain.tags import compact, parse_ports, parse_who
from link_peer.planning import consent

from tests.unit.small_world import APP, DB, HOME, NOW, PEER, POLICY, A, B
from tests.unit.snapshots import group, instance, policy

FOREIGN = Party(PEER, "sg-app")


def ports(text: str) -> Ports:
    return (ALL,) if text == "all" else parse_ports(text)


@pytest.mark.parametrize(
    ("accept", "requested_ports", "uncovered"),
    [
        ("", "tcp/1", "tcp/1"),
        ("sg-app", "tcp/1", ""),
        ("sg-app", "all", ""),
        ("sg-app:tcp/1", "tcp/1", ""),
        ("sg-app:tcp/1", "all", "all"),
        ("sg-app:tcp/1-65535+udp/1-65535+icmp", "all", "all"),  # a ceiling, however high, is not everything
        ("sg-app:tcp/1", "tcp/1+tcp/2", "tcp/2"),
        ("sg-app:tcp/1 sg-app:tcp/2", "tcp/1+tcp/2", ""),
        ("sg-app:tcp/1-5 sg-app:tcp/6-9", "tcp/4-7", "tcp/4-7"),  # one single entry must cover a port
        ("*", "udp/53", ""),
        ("*@1000000000000001", "udp/53", ""),
        ("*@1000000000000002", "udp/53", "udp/53"),
        ("sg-app@1000000000000001", "icmp", ""),
        ("sg-app@1000000000000002", "icmp", "icmp"),
        ("sg-other i-a", "tcp/1", "tcp/1"),  # an instance's consent never covers its group
        ("sg-apps", "tcp/1", "tcp/1"),
    ],
)
def test_tags_on_the_accepting_group(accept: str, requested_ports: str, uncovered: str) -> None:
    """sg-app of home asks; sg-db of home has these entries."""
    _, missing = consent.consents(POLICY, consent.Gate(group(DB, accept), APP, DB), ports(requested_ports), NOW)
    assert missing == ([] if not uncovered else list(ports(uncovered)))


@pytest.mark.parametrize(
    ("accept", "covered"),
    [("i-a", True), ("i-b", False), ("sg-app", True), ("sg-second", True), ("sg-db", False), ("*", True)],
)
def test_an_instance_is_named_by_itself_or_any_of_its_groups(accept: str, covered: bool) -> None:
    source = instance(A, APP, Party(HOME, "sg-second"))
    _, missing = consent.consents(POLICY, consent.Gate(group(DB, accept), source, B), ports("tcp/1"), NOW)
    assert (not missing) == covered


@pytest.mark.parametrize(
    ("source", "target", "entry_ports", "covered"),
    [
        (f"sg-app@{HOME}", f"sg-db@{HOME}", "tcp/1", True),
        (f"sg-app@{HOME}", f"sg-db@{HOME}", "tcp/2", False),
        (f"sg-app@{HOME}", f"sg-db@{HOME}", "", True),
        (f"sg-app@{HOME}", f"*@{HOME}", "", True),
        (f"*@{HOME}", f"sg-db@{HOME}", "", True),
        (f"*@{PEER}", f"sg-db@{HOME}", "", False),
        (f"sg-app@{PEER}", f"sg-db@{HOME}", "", False),
        (f"sg-app@{HOME}", f"sg-db@{PEER}", "", False),
        (f"sg-db@{HOME}", f"sg-app@{HOME}", "", False),  # one direction each
        (f"sg-app@{HOME}", f"i-b@{HOME}", "", False),
    ],
)
def test_reviewed_pairs_of_the_policy(source: str, target: str, entry_ports: str, covered: bool) -> None:
    """With tags off, only the allow list consents; tags on the group do not count."""
    allow = Allow(parse_who(source, None), parse_who(target, None), ports(entry_ports) if entry_ports else (), "text")
    listed = policy(accept_tags=False, allow=(allow,))
    used, missing = consent.consents(listed, consent.Gate(group(DB, "sg-app"), APP, DB), ports("tcp/1"), NOW)
    assert (not missing) == covered
    assert used == (["policy allow text"] if covered else [])


@pytest.mark.parametrize(
    ("deny", "limits", "requested_ports", "refused"),
    [
        ("", Limits(), "", False),
        ("tcp/22", Limits(), "", True),
        ("tcp/22", Limits(), "tcp/22", True),
        ("tcp/22", Limits(), "tcp/1-22", True),
        ("tcp/22", Limits(), "tcp/22-30", True),
        ("tcp/20-30", Limits(), "tcp/25", True),
        ("tcp/22", Limits(), "tcp/23", False),
        ("tcp/22", Limits(), "udp/22", False),
        ("icmp", Limits(), "icmp", True),
        ("icmp", Limits(), "tcp/1", False),
        ("", Limits(max_ports=2), "tcp/1+tcp/2", False),
        ("", Limits(max_ports=2), "tcp/1+tcp/2+tcp/3", True),
        ("", Limits(max_port_span=2), "tcp/1-2", False),
        ("", Limits(max_port_span=2), "tcp/1-3", True),
        ("", Limits(max_port_span=1), "icmp", False),
    ],
)
def test_what_the_policy_never_opens(deny: str, limits: Limits, requested_ports: str, refused: bool) -> None:
    """No ports: a mutual link, which opens everything. The denial begins with the port that is not opened."""
    strict = policy(deny=parse_ports(deny) if deny else (), limits=limits)
    denial = consent.denied_by_policy(strict, parse_ports(requested_ports) if requested_ports else ())
    assert bool(denial) == refused
    assert denial is None or denial.detail.startswith((requested_ports, "3 ports in one link"))


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"deny": parse_ports("tcp/22")}, "denies some"),
        ({"denies_mutual": True}, "allows no link without ports (mutual: deny)"),
        ({"deny": parse_ports("tcp/22"), "denies_mutual": True}, "allows no link without ports (mutual: deny)"),
    ],
)
def test_a_mutual_link_is_refused_with_what_the_policy_says_of_it(fields: dict[str, Any], cause: str) -> None:
    """The denial of the ports is named only where nothing else refuses the link."""
    denial = consent.denied_by_policy(policy(**fields), ())
    assert denial is not None
    assert denial.detail.endswith(f"the policy {cause}")


@pytest.mark.parametrize(
    ("source", "requested_ports", "entry"),
    [
        (APP, (ALL,), "sg-app"),
        (APP, (Port("udp", 53, 53), Port("tcp", 1, 1)), "sg-app:tcp/1+udp/53"),
        (FOREIGN, (Port("icmp"),), f"sg-app@{PEER}:icmp"),
        (A, (Port("tcp", 1, 9),), "i-a:tcp/1-9"),
    ],
)
def test_the_advised_tag_consents_once_it_is_set(source: Party, requested_ports: Ports, entry: str) -> None:
    """The tags that a denial advises cover every port that was asked for."""
    assert consent.tags_for(group(DB), source, requested_ports, POLICY.keys) == [f"link-accept={entry}"]
    asker = instance(source, APP) if not source.is_group else source
    assert consent.consents(POLICY, consent.Gate(group(DB, entry), asker, DB), requested_ports, NOW)[1] == []


def test_the_advised_tags_replace_no_tag_and_fit_into_128_characters() -> None:
    """If one replaced another tag, following the advice would close someone else's link."""
    requested_ports = parse_ports("+".join(f"tcp/{port}" for port in range(10_001, 10_041)))
    tagged_group = msgspec.structs.replace(group(DB), tags={"link-accept": "sg-other", "link-accept.3": "sg-more"})
    tags = dict(tag.split("=") for tag in consent.tags_for(tagged_group, APP, requested_ports, POLICY.keys))
    assert list(tags)[:3] == ["link-accept.2", "link-accept.4", "link-accept.5"]
    assert all(len(value) <= 128 for value in tags.values())
    accepting = msgspec.structs.replace(tagged_group, tags={**tagged_group.tags, **tags})
    assert consent.consents(POLICY, consent.Gate(accepting, APP, DB), requested_ports, NOW)[1] == []
    full = msgspec.structs.replace(tagged_group, tags=dict.fromkeys(POLICY.keys.accepting[2:], "sg-other"))
    assert consent.tags_for(full, APP, requested_ports, POLICY.keys) == []  # of four tags, there is room for two
    room = msgspec.structs.replace(tagged_group, tags=dict.fromkeys(POLICY.keys.accepting[len(tags) :], "sg-other"))
    assert len(consent.tags_for(room, APP, requested_ports, POLICY.keys)) == len(tags)


@pytest.mark.parametrize(("tag_count", "free"), [(10, 9), (12, 8), (19, 1), (20, 0), (21, 0)])
def test_a_group_holds_twenty_tags(tag_count: int, free: int) -> None:
    tags = {f"team-{number}": "" for number in range(tag_count)}
    assert len(consent.free_keys(tags, POLICY.keys)) == free


def end(seconds: int) -> str:
    """An instant so many seconds from now, as a consent writes it."""
    return compact(NOW + seconds)


@pytest.mark.parametrize(("seconds", "covered"), [(1, True), (0, False), (-1, False)])
def test_consent_that_has_ended_covers_nothing(seconds: int, covered: bool) -> None:
    """Of a tag, and of the allow list. The end itself counts as past."""
    used, missing = consent.consents(
        POLICY, consent.Gate(group(DB, f"sg-app:tcp/1~{end(seconds)}"), APP, DB), ports("tcp/1"), NOW
    )
    assert (used, not missing) == ([f"{DB} link-accept=sg-app:tcp/1~{end(seconds)}"] if covered else [], covered)
    allow = Allow(parse_who(str(APP), None), parse_who(str(DB), None), (), "text", int(NOW) + seconds)
    used, missing = consent.consents(policy(allow=(allow,)), consent.Gate(group(DB), APP, DB), ports("tcp/1"), NOW)
    assert (used, not missing) == (["policy allow text"] if covered else [], covered)


@pytest.mark.parametrize("target", ["i-b", "sg-db"])
def test_an_allow_entry_that_names_the_target_instance_or_its_group_covers_an_instance_link(target: str) -> None:
    """The rule is on sg-db, for i-b."""
    allow = Allow(parse_who(f"i-a@{HOME}", None), parse_who(f"{target}@{HOME}", None), (), "text")
    _, missing = consent.consents(
        policy(allow=(allow,)), consent.Gate(group(DB), instance(A, APP), B), ports("tcp/1"), NOW
    )
    assert missing == []


@pytest.mark.parametrize(("last", "lengths"), [("udp/2", [128]), ("udp/22", [122, 13])])
def test_an_advised_tag_holds_up_to_128_characters(last: str, lengths: list[int]) -> None:
    """What does not fit is advised as another tag."""
    requested_ports = parse_ports("+".join([*(f"tcp/{port}" for port in range(10_001, 10_012)), "udp/1", last]))
    values = [tag.partition("=")[2] for tag in consent.tags_for(group(DB), APP, requested_ports, POLICY.keys)]
    assert [len(value) for value in values] == lengths
