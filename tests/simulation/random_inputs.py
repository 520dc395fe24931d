"""The small world of random runs, and the values that hypothesis chooses from."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from hypothesis import strategies as st
from link_peer.domain.model import Party, Port, RuleKey
from link_peer.domain.policy import Allow, GroupSet, Limits, Never, Pause
from link_peer.domain.tags import Grantee, parse_port, parse_who

from tests.simulation import oracle
from tests.simulation.run import AT_ONCE, SLOW
from tests.simulation.scenarios.common import POLICY, SECOND_HOME
from tests.simulation.world import HOME, PEER, World

A, B, FAR, ADVANCED = (Party(HOME, f"sg-{name}") for name in ("a", "b", "far", "advanced"))
X, Y, MANAGED = (Party(PEER, f"sg-{name}") for name in ("x", "y", "managed"))
GROUPS = (A, B, FAR, ADVANCED, X, Y, MANAGED)
INSTANCES = tuple([Party(HOME, f"i-{n}") for n in (1, 2, 3)] + [Party(PEER, f"i-{n}") for n in (4, 5)])
PORTS = ("tcp/3306", "tcp/20-30", "udp/53", "icmp")
POLICIES = (
    POLICY,
    POLICY,
    POLICY,
    msgspec.structs.replace(POLICY, deny=(Port("tcp", 22, 22),)),
    msgspec.structs.replace(POLICY, denies_mutual=True),
    msgspec.structs.replace(
        POLICY,
        accept_tags=False,
        allow=(
            Allow(parse_who(f"*@{HOME}", None), parse_who(f"sg-x@{PEER}", None), (parse_port("tcp/3306"),), "one"),
            Allow(parse_who(f"sg-a@{HOME}", None), parse_who(f"sg-b@{HOME}", None), (), "two"),
        ),
    ),
    msgspec.structs.replace(
        POLICY,
        never=(
            Never(parse_who(str(A), None), parse_who(str(B), None), (parse_port("tcp/20-30"),), "one"),
            Never(Grantee(HOME, "set:prod"), Grantee(PEER, "set:dev"), (), "two"),
            Never(parse_who(f"i-4@{PEER}", None), parse_who(f"*@{HOME}", None), (), "three"),
        ),
        sets={"prod": GroupSet(HOME, {"env": "prod"}), "dev": GroupSet(PEER, {"env": "dev"})},
    ),
    msgspec.structs.replace(POLICY, paused=Pause.ALL),
    msgspec.structs.replace(POLICY, paused=Pause.OPENING),
    msgspec.structs.replace(
        POLICY,
        limits=Limits(max_peers=1),
        accounts={**POLICY.accounts, HOME: msgspec.structs.replace(POLICY.accounts[HOME], ranges=("10.0.0.0/30",))},
    ),
)
FAULTS = (
    *("kill", "kill-after", "lost", "lost-after", "outage", "account-down", "log-down", "throttle", "forbidden"),
    *("stale", "empty", "omit-one"),
)
FORGED = ("tag", "req:r-1", "req:forged", "tag,req:forged~20270115T080500Z")
IPS = ("10.0.0.2", "10.0.0.3", "10.0.0.5", "203.0.113.9", "")
UNTILS = ("", "+600", "-600", "tomorrow")
EDITS = ("delete", "strengthen", "copy", "mine now", "", f"link-peer/2 dep=prod home={HOME} note")
"""What a person does to a rule: these words, or the new description."""

groups = st.sampled_from((A, B, X) * 4 + GROUPS)  # mostly three, so that links share rules more often
instances = st.sampled_from(INSTANCES)
advanced_groups = st.one_of(st.just({ADVANCED}), st.sets(st.sampled_from((A, B, FAR, ADVANCED, X, Y)), min_size=1))
ports = st.lists(st.sampled_from(PORTS), max_size=2, unique=True)
faults = st.one_of(
    st.dictionaries(st.integers(0, 16), st.sampled_from((*FAULTS, *sorted(SLOW | AT_ONCE))), max_size=2),
    st.just({-1: "empty"}),  # no read of this delivery shows an instance
)


def peer_tag(party: Party, peer: Party, ports: list[str]) -> str:
    """The value of a link-peer tag of `party`."""
    name = peer.id if peer.account == party.account else f"{peer.id}@{peer.account}"
    return name + (":" + "+".join(ports) if ports else "")


def random_world(advanced: Collection[Party] = (ADVANCED,)) -> World:
    """Seven groups in two accounts, of which some are `advanced`, all with consent at both ends, five instances, and a
    rule of another deployment and of a second home."""
    world = World()
    everybody = f"*@{HOME} *@{PEER}"
    for party in GROUPS:
        world.add_group(
            party.account,
            party.id[3:],
            everybody,
            everybody,
            vpc="vpc-2" if party == FAR else "vpc-1",
            advanced=party in advanced,
            managed=party == MANAGED,
        )
    for party, env in ((A, "dev"), (Y, "prod")):
        world.groups[party] = msgspec.structs.replace(
            world.groups[party], tags={**world.groups[party].tags, "env": env}
        )
    for party, group in zip(INSTANCES, (A, A, B, X, Y), strict=True):
        world.add_instance(party.account, party.id[2:], group)
    # of several groups of an instance, which are of one type [doc JoinSecurityGroup], consent chooses
    for party, in_groups in zip(INSTANCES, ((ADVANCED, A), (B, A), (B,), (X,), (X, Y)), strict=True):
        ids = tuple(group.id for group in in_groups if (group in advanced) == (in_groups[-1] in advanced))
        world.instances[party] = msgspec.structs.replace(world.instances[party], groups=ids)
    manual_key = RuleKey(B, str(A), "", Port("tcp", 3306, 3306))
    for policy in () if {A, B} & {*advanced} else (msgspec.structs.replace(POLICY, deployment="other"), SECOND_HOME):
        world.add_manual_rule(
            manual_key, oracle.marker(manual_key, policy, "tag"), priority=50 + len(world.manual_rules)
        )
    return world
