"""What `never` forbids and sets contain: tables over snapshots, without a cloud."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.denials import Denial
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import Claim, Link, Party
from link_peer.domain.policy import Allow, GroupSet, Never, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Grantee, parse_ports, parse_who
from link_peer.planning.actual import Actual
from link_peer.planning.claims import links_from_tags
from link_peer.planning.decision import Context, DesiredLink, MembersOf
from link_peer.planning.guardrails import never_denial
from link_peer.planning.verdict.acceptance import closed_by_group
from link_peer.planning.verdict.answers import PlanView, judge
from link_peer.planning.verdict.single_link import permitted

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, REGION, A, B
from tests.unit.snapshots import group, instance, key, policy, view

FAR, FAR_I = Party(PEER, "sg-x"), Party(PEER, "i-x")
SETS = {"prod": GroupSet(HOME, {"env": "prod", "tier": "db"}), "far": GroupSet(PEER, {"env": "dev"})}
REFUSED: dict[str, Any] = {"refused_accounts": {PEER: NoAccess("NoPermission", "no")}}
FAILED: dict[str, Any] = {"failed_accounts": {PEER: "timeout"}}
PORTS = parse_ports("tcp/22")


def end(text: str) -> Grantee:
    """`sg-x`, `*` and `set:prod` are of home, unless they name the other account."""
    if text.startswith(SET):
        return Grantee(SETS[text.removeprefix(SET)].account, text)
    return parse_who(text, HOME)


def guarded(source: str, target: str, ports: str = "") -> Policy:
    never = Never(end(source), end(target), parse_ports(ports) if ports else (), "never=one")
    return policy(never=(never,), sets=SETS)


def allowing(source: str, target: str) -> Policy:
    return policy(allow=(Allow(end(source), end(target), (), "allow=two"),), sets=SETS)


def snapshot_of(**fields: Any) -> Snapshot:
    """i-a in sg-app and sg-cache, i-b in sg-db. All consent to everything."""
    groups = [group(party, f"* *@{PEER}") for party in (APP, DB, CACHE)]
    instances = [instance(A, APP, CACHE, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    return view(groups, instances, **fields)


def denial_text(denial: Denial | None) -> str:
    """`never`, where it is for good; `unread`; the code of another reason; empty where nothing is denied."""
    if denial is None or denial.undecided:
        return "unread" if denial else ""
    return "never" if "never=one" in denial.detail else denial.reason.code


@pytest.mark.parametrize(
    ("entry", "link", "denied"),
    [
        (("sg-app", "sg-db"), Link(APP, DB, PORTS), True),
        (("sg-app", "sg-db"), Link(DB, APP, PORTS), False),  # an entry is one direction
        (("sg-app", "sg-db"), Link(APP, DB), True),
        (("sg-app", "sg-db"), Link(DB, APP), True),  # a mutual link goes both ways
        (("sg-app", "sg-db", "tcp/20-30"), Link(APP, DB, parse_ports("tcp/30-99+udp/1")), True),  # any overlap
        (("sg-app", "sg-db", "tcp/20-30"), Link(APP, DB, parse_ports("tcp/31+udp/22")), False),
        (("sg-app", "sg-db", "tcp/20-30"), Link(DB, APP), True),  # a mutual link opens every port
        (("*", "*"), Link(APP, DB, PORTS), True),
        ((f"*@{PEER}", "*"), Link(APP, DB, PORTS), False),
        (("sg-app", f"*@{PEER}"), Link(APP, DB, PORTS), False),
        (("i-a", "sg-db"), Link(A, B, PORTS), True),
        (("sg-cache", "*"), Link(A, B, PORTS), True),  # any group of the instance
        (("*", "sg-db"), Link(A, B, PORTS), True),
        (("sg-db", "sg-cache"), Link(A, B, PORTS), False),
        (("sg-db", "sg-cache"), Link(A, B), True),
        (("i-a", "*"), Link(APP, DB, PORTS), False),  # of a group, the group is judged
        (("sg-cache", "*"), Link(APP, DB, PORTS), False),
    ],
)
def test_never_beats_consent_in_its_direction_and_on_its_ports(entry: Any, link: Link, denied: bool) -> None:
    """A mutual link is denied by an entry of either direction, an instance for any of its groups."""
    assert denial_text(permitted(snapshot_of(), guarded(*entry), link, NOW).denial) == ("never" if denied else "")


@pytest.mark.parametrize(
    ("tags", "in_never", "in_allow"),
    [
        ({"env": "prod", "tier": "db"}, True, True),
        ({"env": "prod", "tier": "db", "more": "x"}, True, True),
        ({"env": "prod"}, True, False),  # a group without a key counts as in the set for never alone
        ({}, True, False),
        ({"env": "dev"}, False, False),
        ({"env": "prod", "tier": "web"}, False, False),
        ({"tier": "web"}, False, False),
        ({"env": ""}, False, False),
    ],
)
@pytest.mark.parametrize("link", [Link(APP, DB, PORTS), Link(A, B, PORTS)])
def test_what_is_in_a_set(tags: dict[str, str], in_never: bool, in_allow: bool, link: Link) -> None:
    """For an instance its groups are looked at."""
    snapshot = view([group(APP), group(CACHE), group(DB, tags=tags)], snapshot_of().instances.values())
    assert denial_text(permitted(snapshot, guarded("*", "set:prod"), link, NOW).denial) == (
        "never" if in_never else "no-consent"
    )
    verdict = permitted(snapshot, allowing("*", "set:prod"), link, NOW)
    assert verdict.consent == (("policy allow allow=two",) if in_allow else ())
    assert denial_text(verdict.denial) == ("" if in_allow else "no-consent")


@pytest.mark.parametrize("link", [Link(FAR, DB, PORTS), Link(FAR, DB), Link(FAR_I, B, PORTS)])
def test_tags_that_a_refused_account_hides_are_in_the_set_for_never_and_not_for_allow(link: Link) -> None:
    """What stands goes at once. After a transient error it stays, and nothing opens, until the tags are read."""

    def closes(with_policy: Policy, accept: str, hidden: dict[str, Any]) -> str:
        snapshot = view([group(DB, accept)], snapshot_of().instances.values(), **hidden)
        return denial_text(closed_by_group(snapshot, with_policy, key(DB, FAR, "tcp/22"), link, NOW))

    never, hidings = guarded("set:far", "*"), (REFUSED, FAILED, {})
    assert [closes(never, f"*@{PEER}", hidden) for hidden in hidings] == ["never", "", ""]
    assert [closes(allowing("set:far", "*"), "", hidden) for hidden in hidings] == ["no-consent", "", ""]
    assert [denial_text(permitted(snapshot_of(**hidden), never, link, NOW).denial) for hidden in hidings[:2]] == [
        "never",
        "unread",
    ]


@pytest.mark.parametrize(
    ("source", "failed", "refused"),
    [
        (f"i-x@{PEER}", True, True),
        (f"*@{PEER}", True, True),
        (f"sg-y@{PEER}", False, True),
        (f"i-y@{PEER}", False, False),
    ],
)
def test_what_needs_no_tags_is_denied_whatever_cannot_be_read(source: str, failed: bool, refused: bool) -> None:
    """An instance of an account that refuses access may be in any group of it."""
    for hidden, expected in ((FAILED, failed), (REFUSED, refused)):
        denial = permitted(snapshot_of(**hidden), guarded(source, "*"), Link(FAR_I, B, PORTS), NOW).denial
        assert (denial_text(denial) == "never") is expected


def test_an_instance_whose_groups_were_not_all_read_is_undecided_where_tags_decide() -> None:
    """Its tags may be those of the set; the denial names its account. A group that is not shown is denied for that."""
    snapshot = view([group(APP, tags={"env": "dev"}), group(DB, "*")], snapshot_of().instances.values())
    denial = never_denial(snapshot, guarded("set:prod", f"*@{PEER}"), A, FAR, PORTS)
    back = never_denial(snapshot, guarded(f"*@{PEER}", "set:prod"), FAR, A, PORTS)
    assert denial is not None
    assert (denial_text(denial), denial) == ("unread", back)
    assert f"account {HOME} could not be read: " in denial.detail
    assert never_denial(snapshot, guarded("set:prod", "sg-cache"), A, B, PORTS) is None  # the other end decides
    assert never_denial(snapshot, guarded("set:prod", "*"), CACHE, B, PORTS) is None
    assert closed_by_group(snapshot, guarded("set:prod", "*"), key(DB, APP), Link(A, B, PORTS), NOW) is None
    bare = view([group(APP, tags={"env": "dev"}), group(DB)], snapshot_of().instances.values())
    assert denial_text(permitted(bare, allowing("set:prod", "*"), Link(A, B, PORTS), NOW).denial) == "no-consent"


def test_one_group_of_an_instance_is_enough_and_of_its_own_account_alone() -> None:
    """In a set, for never and for allow."""
    prod = {"env": "prod", "tier": "db"}
    tagged = [group(APP, tags={"env": "dev"}), group(CACHE, tags=prod), group(DB), group(FAR, tags=prod)]
    snapshot = view(tagged, [*snapshot_of().instances.values(), instance(FAR_I, FAR, ip="10.0.0.3")])
    for source, barred, allowed in ((A, "never", ""), (FAR_I, "", "no-consent")):
        for end_of in (source, snapshot.instances[source]):
            assert denial_text(never_denial(snapshot, guarded("set:prod", "*"), end_of, B, PORTS)) == barred
        assert (
            denial_text(permitted(snapshot, allowing("set:prod", "*"), Link(source, B, PORTS), NOW).denial) == allowed
        )


def test_each_entry_counts_also_after_one_of_other_ports() -> None:
    first, second = guarded("*", "*", "tcp/1").never, guarded("*", "*", "tcp/22").never
    assert never_denial(snapshot_of(), policy(never=(*first, *second)), APP, DB, PORTS) is not None


@pytest.mark.parametrize("accept", ["*", ""])
@pytest.mark.parametrize(
    ("entry", "peers", "denied"),
    [
        (("sg-cache", "sg-db"), "sg-db:tcp/22", True),  # the group that links is sg-app: never looks at all of them
        (("i-a", "*"), "sg-db:tcp/22", True),
        (("*", "*"), "sg-db:tcp/22", True),
        (("sg-cache", "sg-db", "tcp/23"), "sg-db:tcp/22", False),
        (("sg-db", "sg-cache"), "sg-db:tcp/22", False),
        (("sg-db", "sg-cache"), "sg-db", True),
    ],
)
def test_the_wish_of_an_instance_is_judged_with_all_its_groups(
    entry: Any, peers: str, denied: bool, accept: str
) -> None:
    """Of another instance of the group, the same link may be opened. Where consent is lacking too, no instance is
    counted."""
    asker, limits = instance(A, APP, CACHE, link_peer=peers), guarded(*entry)
    snapshot = view([group(party, accept) for party in (APP, DB, CACHE)], [asker])
    reading = PlanView(snapshot, Context(limits, REGION, NOW), Actual({}, frozenset(), {}, {}))
    judged = judge(reading, links_from_tags(snapshot, asker, NOW, limits))
    request = judge(reading, [DesiredLink(Link(APP, DB, parse_ports("tcp/22")), Claim("r"))]).answers[0].denial
    assert (denial_text(request) == "never") == (entry == ("*", "*"))
    assert denial_text(judged.answers[0].denial) == ("never" if denied else "" if accept else "no-consent")
    assert {type(question) for question in judged.missing.questions} == (
        {MembersOf} if not (denied or accept) else set()
    )


def refusing(value: str, holder: Party = DB, key: str = "link-refuse.x", **fields: Any) -> Snapshot:
    """As `snapshot_of`, with this refusal on a group."""
    groups = [
        group(party, f"* *@{PEER}", **({"tags": {key: value, "link-accept": "*"}} if party == holder else {}))
        for party in (APP, DB, CACHE)
    ]
    return view(groups, snapshot_of().instances.values(), **fields)


@pytest.mark.parametrize(
    ("value", "link", "denied"),
    [
        ("sg-app", Link(APP, DB, PORTS), True),
        ("sg-app", Link(DB, APP, PORTS), True),  # a group neither admits nor reaches whom it refuses
        ("sg-app", Link(APP, DB), True),
        ("sg-app", Link(CACHE, DB, PORTS), False),
        ("sg-app:tcp/20-30", Link(APP, DB, parse_ports("tcp/30-99+udp/1")), True),  # any overlap
        ("sg-app:tcp/20-30", Link(APP, DB, parse_ports("tcp/31+udp/22")), False),
        ("sg-app:tcp/20-30", Link(APP, DB), True),
        ("*", Link(APP, DB, PORTS), True),
        (f"*@{PEER}", Link(APP, DB, PORTS), False),
        ("sg-app", Link(A, B, PORTS), True),
        ("sg-cache", Link(A, B, PORTS), True),  # any group of the instance
        ("sg-cache", Link(B, A, PORTS), True),
        ("i-a", Link(A, B, PORTS), True),
        ("i-a", Link(APP, DB, PORTS), False),  # of a group, the group is judged
        ("i-b", Link(A, B, PORTS), False),
        ("", Link(A, B, PORTS), True),
        ("sg-other~20270101T000000Z", Link(APP, DB, PORTS), True),
    ],
)
def test_a_refusal_beats_consent_in_both_directions_and_on_its_ports(value: str, link: Link, denied: bool) -> None:
    """Whoever consents, by tag or in the policy; and what stands is closed by the group that holds the rule."""
    for rules in (policy(), allowing("*", "*")):
        denial = permitted(refusing(value), rules, link, NOW).denial
        assert (denial.reason.code if denial else "") == ("refused" if denied else "")
        closed = closed_by_group(refusing(value), rules, key(DB, APP), link, NOW)
        assert (closed.reason.code if closed else "") == ("refused" if denied else "")


def test_a_refusal_by_any_group_of_an_instance_counts() -> None:
    """At the source as at the target; of a link by group reference, the groups themselves alone."""
    snapshot = refusing("sg-db", CACHE)
    assert [
        denial_text(permitted(snapshot, policy(), link, NOW).denial) for link in (Link(A, B, PORTS), Link(B, A, PORTS))
    ] == ["refused"] * 2
    assert permitted(snapshot, policy(), Link(APP, DB, PORTS), NOW).denial is None


def test_nothing_is_opened_for_an_instance_while_a_group_of_it_is_not_known() -> None:
    """It may refuse the link. What the cloud was asked for and does not show is a thing unseen."""
    groups = [group(APP, "*"), group(DB, "*")]
    unread = permitted(view(groups, snapshot_of().instances.values()), policy(), Link(A, B, PORTS), NOW)
    assert (denial_text(unread.denial), unread.open_questions) == ("unread", (A,))
    omitted = permitted(
        view(groups, snapshot_of().instances.values(), requested={CACHE}), policy(), Link(A, B, PORTS), NOW
    )
    assert omitted.denial is not None
    assert (omitted.denial.unseen, denial_text(omitted.denial)) == (True, "peer-not-found")


@pytest.mark.parametrize(
    ("refused_peer", "hidden"), [(f"sg-y@{PEER}", True), (f"i-x@{PEER}", True), (f"i-y@{PEER}", False)]
)
def test_an_instance_of_a_refusing_account_may_be_in_any_group_that_is_refused(refused_peer: str, hidden: bool) -> None:
    """So that what stands for it is closed."""
    link = Link(FAR_I, B, PORTS)
    closed = closed_by_group(
        refusing(refused_peer, **REFUSED), policy(accept_tags=False), key(DB, FAR, "tcp/22"), link, NOW
    )
    assert denial_text(closed) == ("refused" if hidden else "no-consent")


@pytest.mark.parametrize(
    ("key_of_tag", "value", "command"),
    [
        (
            "link-refuse",
            "sg-app",
            "aliyun ecs UntagResources --RegionId {region} --ResourceType securitygroup --ResourceId.1 sg-db --TagKey.1 link-refuse",
        ),
        ("Link-Refuse.$(x)", "sg-app sg-web", "--Tag.1.Key 'Link-Refuse.$(x)' --Tag.1.Value sg-web"),
        ("link-refuse.close", "sg-app", f"link-peer reopen --between sg-db@{HOME} sg-app@{HOME}"),
        ("link-refuse.close.2", "*", f"link-peer reopen --between {HOME} {HOME}"),
        ("link-refuse.close", "what", "--TagKey.1 link-refuse.close"),
    ],
)
def test_the_advice_takes_the_entry_off_and_no_other(key_of_tag: str, value: str, command: str) -> None:
    """With the key as a word of the shell, since anyone may write it."""
    denial = permitted(refusing(value, key=key_of_tag), policy(), Link(APP, DB, PORTS), NOW).denial
    assert denial is not None
    assert denial.advice.endswith(command)
    assert denial.detail.startswith(f"sg-db@{HOME} refuses sg-app@{HOME} by '{key_of_tag}=")
