"""Locks, consent that ends or changes, and what changes while a delivery runs."""

from __future__ import annotations

import msgspec
from link_peer.domain.model import ALL, Party
from link_peer.domain.policy import Allow, GroupSet, Never
from link_peer.domain.tags import Grantee, iso, parse_who

from tests.simulation import oracle
from tests.simulation.driver import deliver, deliver_queue, deliver_without_faults, reset
from tests.simulation.explore import Act, Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import sweep_message
from tests.simulation.run import AT_ONCE, SLOW
from tests.simulation.scenarios.common import (
    APP,
    DB,
    LATE_SWEEP,
    LINK,
    POLICY,
    SYNC,
    had_fault,
    hold_wanted,
    redeliver_and_check,
    request,
    rests,
    rests_without_rules,
    sweep_and_check,
    two_accounts,
    two_accounts_and_a_tag,
)
from tests.simulation.scenarios.instances import DB as HOME_DB
from tests.simulation.scenarios.instances import event, home_world
from tests.simulation.watch import compact
from tests.simulation.world import HOME, PEER, START, World

BY_POLICY = msgspec.structs.replace(
    POLICY,
    accept_tags=False,
    allow=(
        Allow(parse_who(f"*@{HOME}", None), parse_who(f"*@{PEER}", None), (), "to b"),
        Allow(parse_who(f"*@{PEER}", None), parse_who(f"*@{HOME}", None), (), "to a"),
    ),
)
"""The policy consents, whatever the tags say."""


def locked_group() -> Scenario:
    """A security engineer locks one group of a mutual link that the policy itself allows: neither side stays."""
    port = request("r-2", "r-2", "tcp/3306")
    lock = Act("lock", lambda world: world.set_tag(DB, "Link-Lock.INC 7", ""))
    end = rests_without_rules("sg-db is locked", LINK, port, policy=BY_POLICY)
    return Scenario("a lock", two_accounts, BY_POLICY, ((LINK, LINK), (lock,), (port,), (sweep_message(),)), end)


def refused_peer() -> Scenario:
    """The source of a link refuses its target on the one port of it, though the policy allows everything: the rule goes
    from the other account's group, and with it the mutual link on both sides."""
    port = request("r-2", "r-2", "tcp/3306")
    refuse = Act("refuse", lambda world: world.set_tag(APP, "Link-Refuse.INC 7", f"sg-db@{PEER}:tcp/3300-3399"))
    end = rests_without_rules("sg-app refuses sg-db", LINK, port, policy=BY_POLICY)
    return Scenario("a refusal", two_accounts, BY_POLICY, ((LINK,), (refuse,), (port,), (sweep_message(),)), end)


def unreadable_refusal() -> Scenario:
    """A refusal with a typing error refuses everybody."""
    refuse = Act("refuse", lambda world: world.set_tag(DB, "link-refuse", "sg-ap p~"))
    end = rests_without_rules("sg-db refuses everybody", LINK, policy=BY_POLICY)
    return Scenario("an unreadable refusal", two_accounts, BY_POLICY, ((LINK,), (refuse,), (sweep_message(),)), end)


def guardrail() -> Scenario:
    """A tag that keeps a group out of a set is taken off: the set is then forbidden to reach the other account, so that
    the mutual link goes on both sides, and a link to the group may stay."""
    policy = msgspec.structs.replace(
        BY_POLICY,
        sets={"prod": GroupSet(PEER, {"env": "prod"})},
        never=(Never(Grantee(PEER, "set:prod"), Grantee(HOME, "*"), (), "never"),),
    )
    port = request("r-2", "r-2", "tcp/3306")
    untag = Act("env", lambda world: world.set_tag(DB, "env", None))

    def start() -> World:
        world = two_accounts()
        world.set_tag(DB, "env", "dev")
        return world

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (LINK, port), policy)
        ours = [key for key in oracle.owned(world, policy) if key.port == ALL]
        hold("I1", not ours, f"rules exist though never forbids them: {ours}")

    return Scenario("a guardrail", start, policy, ((LINK, LINK), (untag,), (port,), (sweep_message(),)), end)


def consent_ends() -> Scenario:
    """sg-db's consent has an end: after it, no rule exists, and none is written."""

    def start() -> World:
        world = two_accounts_and_a_tag()
        world.set_tag(DB, "link-accept", f"sg-app@{HOME}~{compact(iso(START + 1800))}")
        return world

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, ())
        reset(world, 3000)
        deliver_without_faults(world, LATE_SWEEP, POLICY)
        ours = oracle.owned(world, POLICY)
        hold("I1", ours == {} or had_fault(facts, "forbidden"), f"rules exist though consent has ended: {ours}")

    lanes = ((LINK, sweep_message(), LATE_SWEEP), (msgspec.structs.replace(SYNC, name="late sync", after=3000),))
    return Scenario("consent ends", start, POLICY, lanes, end)


def _closed_meanwhile(world: World, facts: Facts) -> None:
    """Rules exist unless a call took long in which consent was withdrawn or a group locked."""
    redeliver_and_check(world, facts, (LINK, SYNC))
    withdrawn = had_fault(facts, "withdrawn", "locked")
    without_rules = not oracle.owned(world, POLICY)
    hold("I1", without_rules == withdrawn, f"consent withdrawn: {withdrawn}, but the rules are {world.rules}")


def change_during_a_delivery() -> Scenario:
    """A call takes long, and meanwhile consent is withdrawn, a group is locked, or the policy denies the port or
    pauses: no rule is written after that."""
    name, lanes = "a change during a delivery", ((LINK,), (SYNC,))
    return Scenario(name, two_accounts_and_a_tag, POLICY, lanes, _closed_meanwhile, kinds=tuple(sorted(SLOW)))


def consent_withdrawn_during_a_delivery() -> Scenario:
    """Both groups withdraw consent while a throttled call waits for the next minute: no rule is written after that."""
    name, lanes = "consent withdrawn during a delivery", ((LINK, LINK), (SYNC,))
    return Scenario(name, two_accounts_and_a_tag, POLICY, lanes, _closed_meanwhile, kinds=("withdrawn", "kill-after"))


def expiry_during_a_delivery() -> Scenario:
    """A request is delivered ten seconds before it is too late, and a call takes twenty: nothing is opened after
    that."""
    link = msgspec.structs.replace(LINK, after=3600 + 290)
    return Scenario("expiry during a delivery", two_accounts, POLICY, ((link,),), rests(link), kinds=("slow",))


def group_events() -> Scenario:
    """A group consents to what an instance's tag already asks for, loses its managed tag, and is locked. Each time its
    event alone, without a sweep, leads to the right rules."""
    consented, locked = event("consented", "tags", HOME_DB), event("locked", "tags", HOME_DB)

    def start() -> World:
        world = home_world("", "", "sg-db:tcp/3306 i-store:udp/53")
        deliver(world, event("started", "Running"), POLICY)
        return world

    def check(case: str) -> Act:
        return Act(f"check {case}", lambda world: right(world.copy(), case))

    acts = (
        Act("consent", lambda world: world.set_tag(HOME_DB, "link-accept", "sg-web i-one")),
        consented,
        check("after consent"),
        Act("strip", lambda world: world.strip_tags(HOME_DB)),
        locked,
        check("after the tag was stripped"),
        Act("lock", lambda world: world.set_tag(HOME_DB, "link-lock", "yes")),
        locked,
        check("after the lock"),
    )

    def right(world: World, case: str) -> None:
        reset(world, 400)
        deliver_without_faults(world, msgspec.structs.replace(consented, name=case), POLICY)
        deliver_queue(world, POLICY)
        owned_claims, tagged_pairs = oracle.owned(world, POLICY), oracle.wanted_by_tags(world, POLICY)
        hold(
            "I13",
            owned_claims.keys() == tagged_pairs.keys(),
            f"{case}: tags ask for {tagged_pairs.keys()}, the rules are {owned_claims.keys()}",
        )
        tagged = oracle.managed_tag(POLICY) in world.groups[HOME_DB].tags
        hold("I9", tagged or not owned_claims, f"{case}: sg-db has rules and no managed tag")

    def end(world: World, facts: Facts) -> None:
        right(world, "at the end")
        sweep_and_check(world)

    return Scenario("events of a group", start, POLICY, (acts,), end)


def consent_moves() -> Scenario:
    """i-app is in two groups and asks for everything; sg-db accepts the second, then the first too. After a sync, the
    link is that of the first that it accepts, on both sides, and no rule of the other is left."""
    app = Party(HOME, "i-app")
    accepted = f"sg-app@{HOME} sg-common@{HOME}"
    accept = Act("accept the first", lambda world: world.set_tag(DB, "link-accept", accepted))

    def start() -> World:
        world = two_accounts(**{"link-peer": f"sg-db@{PEER}"})
        world.add_group(HOME, "common", f"sg-db@{PEER}")
        world.instances[app] = msgspec.structs.replace(world.instances[app], groups=("sg-common", "sg-app"))
        return world

    def right(world: World) -> None:
        reset(world)
        deliver_without_faults(world, msgspec.structs.replace(SYNC, name="another sync"), POLICY)
        hold_wanted("I9", world)

    def end(world: World, facts: Facts) -> None:
        right(world.copy())
        redeliver_and_check(world, facts, (SYNC,))

    check = Act("check", lambda world: right(world.copy()))
    lanes = ((SYNC, check, accept, SYNC), (sweep_message(),))
    return Scenario("consent moves", start, POLICY, lanes, end)


def tag_changes() -> Scenario:
    """An instance's tag names another port: the old rule is closed before the new one is opened (I14)."""
    app = Party(HOME, "i-app")
    change = Act("change the tag", lambda world: world.set_tag(app, "link-peer", f"sg-db@{PEER}:udp/53"))

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (SYNC,))
        hold_wanted("I9", world)

    lanes = ((SYNC, change, SYNC), (sweep_message(),))
    return Scenario("a tag changes", two_accounts_and_a_tag, POLICY, lanes, end)


def closed_at_any_call() -> Scenario:
    """A group is locked, or withdraws its consent, right before any call of a delivery: what the delivery reads of that
    afterwards is closed when it ends (I15), on both sides, whatever asked for it; the rest by the sweep."""

    def start() -> World:
        world = two_accounts_and_a_tag()
        deliver(world, request("r-0", "r-0", "udp/53"), POLICY)
        return world

    lanes = ((LINK,), (SYNC, sweep_message()))
    return Scenario("closed at any call", start, POLICY, lanes, rests(LINK, SYNC), kinds=tuple(AT_ONCE))


def half_closed_at_any_call() -> Scenario:
    """The same, where a person deleted half of the mutual link, which is written again meanwhile."""

    def start() -> World:
        world = two_accounts()
        deliver(world, LINK, POLICY)
        for rule in list(world.rules[DB].values()):
            world.delete_manually(DB, rule.id)
        return world

    lanes = ((LINK,), (sweep_message(),))
    return Scenario("half closed at any call", start, POLICY, lanes, rests(LINK), kinds=tuple(AT_ONCE))


def closed_during_an_event() -> Scenario:
    """The same of the groups of home, during the events of an instance and of a group."""
    started, looked = event("started", "Running"), event("looked", "tags", HOME_DB)

    def world() -> World:
        return home_world("*", "*", "sg-db i-store:udp/53")

    lanes = ((started, looked), (sweep_message(),))
    return Scenario("closed during an event", world, POLICY, lanes, rests(started, looked), kinds=tuple(AT_ONCE))


def closed_and_killed() -> Scenario:
    """The same before a delivery that dies later, after its write or before its look: the redelivery closes (I15)."""
    kinds = ("locked-now", "kill-after")
    return Scenario("closed and killed", two_accounts_and_a_tag, POLICY, ((LINK,),), rests(LINK), kinds=kinds, faults=2)


CONSENTS = [
    locked_group(),
    refused_peer(),
    unreadable_refusal(),
    guardrail(),
    consent_ends(),
    change_during_a_delivery(),
    consent_withdrawn_during_a_delivery(),
    expiry_during_a_delivery(),
    group_events(),
    consent_moves(),
    tag_changes(),
    closed_at_any_call(),
    half_closed_at_any_call(),
    closed_during_an_event(),
    closed_and_killed(),
]
