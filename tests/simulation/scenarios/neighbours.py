"""What neighbours do to each other: forged markers, a second home, stripped tags, hidden accounts, borrowed addresses,
and many removals at once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from link_peer.domain.model import Party, Port, RuleKey
from link_peer.domain.policy import Limits

from tests.simulation import oracle
from tests.simulation.driver import deliver, deliver_without_faults, reset
from tests.simulation.explore import Act, Facts, NextQueued, Scenario, Step
from tests.simulation.invariants import hold
from tests.simulation.messages import sweep_message
from tests.simulation.scenarios.common import (
    APP,
    DB,
    LATE_SWEEP,
    LINK,
    POLICY,
    PORT_LINK,
    SECOND_HOME,
    SYNC,
    TCP,
    UNLINK,
    UNTAG,
    WITHDRAW,
    had_fault,
    half_an_hour_later,
    hold_rules,
    mutual_rules,
    redeliver_and_check,
    request,
    rests_without_rules,
    sweep_all,
    sweep_and_check,
    two_accounts,
)
from tests.simulation.scenarios.instances import ONE, event, home_world, start_one
from tests.simulation.world import HOME, PEER, SWEEPS, World


def forged_half() -> Scenario:
    """A tenant writes valid markers on its own groups: half of a link in a request's name, half in a tag's, and a port.
    No sweep opens the other side, and the halves are removed."""
    on_db, on_app = mutual_rules()
    port = RuleKey(DB, str(APP), "", TCP)

    def forge(key: RuleKey, claims: str) -> Act:
        return Act(f"forge {claims}", lambda world: world.forge(key, oracle.marker(key, POLICY, claims)))

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (UNLINK,))
        mutual = set(mutual_rules()) & oracle.owned(half_an_hour_later(world), POLICY).keys()
        hold("I3", not mutual, f"half of a forged link still exists: {mutual}")

    lanes = (
        (forge(on_db, "req:forged"), forge(on_app, "tag"), forge(port, "req:port")),
        (sweep_message(), LATE_SWEEP),
        (UNLINK,),
    )
    return Scenario("forged markers", two_accounts, POLICY, lanes, end)


def second_home() -> Scenario:
    """Another home account uses the same deployment name and shares the peer account: neither touches the other's rules
    and tags."""
    other_rules = [RuleKey(DB, str(APP), "", Port("tcp", 1, 1)), RuleKey(DB, f"sg-other@{PEER}", "", TCP)]

    def start() -> World:
        world = two_accounts()
        world.add_group(PEER, "other", f"sg-db@{PEER}")
        for key in other_rules:
            world.add_manual_rule(key, oracle.marker(key, SECOND_HOME, "req:theirs"), priority=100)
        world.set_tag(DB, oracle.managed_tag(SECOND_HOME), "true")
        return world

    def end(world: World, facts: Facts) -> None:
        theirs = world.copy()
        before = oracle.owned(theirs, POLICY)
        reset(theirs)
        deliver_without_faults(theirs, sweep_message(), SECOND_HOME)
        hold("I2", oracle.owned(theirs, POLICY) == before, "the second home's sweep changed our rules")
        redeliver_and_check(world, facts, (PORT_LINK, UNLINK))
        has_tag = oracle.managed_tag(SECOND_HOME) in world.groups[DB].tags
        hold("I2", has_tag, "the second home's managed tag was removed")

    lanes = ((PORT_LINK, PORT_LINK), (UNLINK,), (sweep_message(),))
    return Scenario("a second home", start, POLICY, lanes, end)


def stripped_tags() -> Scenario:
    """Terraform strips the managed tags, then consent is withdrawn or a request ends: sweeps find the rules all the
    same."""

    def strip(world: World) -> None:
        world.strip_tags(APP)
        world.strip_tags(DB)

    lanes = ((LINK, LINK), (Act("strip", strip), WITHDRAW), (sweep_message(),))
    end = rests_without_rules("consent was withdrawn", LINK)
    return Scenario("stripped tags", two_accounts, POLICY, lanes, end)


def hidden_account() -> Scenario:
    """The source's account revokes its role while a rule for one of its instances exists: consent to a group no longer
    counts for the instance, whose groups cannot be seen; nor does consent to another group of that account."""
    link = request("r-1", "r-1", "tcp/3306", between=(Party(PEER, "i-db"), Party(HOME, "i-app")))

    def start() -> World:
        world = two_accounts()
        world.set_tag(APP, "link-accept", f"sg-db@{PEER} sg-else@{PEER}")
        return world

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (link,))
        hold_rules("I1", world, {}, "rules exist though the source's account hides")

    acts = (
        Act("revoke the role", lambda world: world.revoked.add(PEER)),
        Act("withdraw", lambda world: world.set_tag(APP, "link-accept", f"sg-else@{PEER}")),
    )
    return Scenario("a hidden account", start, POLICY, ((link, link), acts, (sweep_message(),)), end)


def hidden_peer() -> Scenario:
    """The peer deletes its role: an unlink, and home's own tag taken off, close home's half of a mutual link at
    once."""
    act = Act("revoke the role", lambda world: world.revoked.add(PEER))
    return _one_sided("a hidden peer", act, APP, "", frozenset({"tag", "req:r-1"}))


def throttled_peer() -> Scenario:
    """The peer throttles every call: an unlink closes home's half. The peer's tag, which nobody can read, counts as
    asking."""
    act = Act("throttle", lambda world: world.barred.update({PEER: "throttled"}))
    return _one_sided("a throttled peer", act, APP, f"sg-app@{HOME}", frozenset({"req:r-1"}))


def read_only_side() -> Scenario:
    """One account, the first to be changed, refuses changes: the other's half goes, and the record says what stands."""
    act = Act("refuse changes", lambda world: world.barred.update({HOME: "read only"}))
    return _one_sided("a read-only side", act, DB, "", frozenset({"tag", "req:r-1"}))


def _one_sided(name: str, act: Act, reached: Party, peer: str, ended_claims: frozenset[str]) -> Scenario:
    """What `act` does to one account keeps no claim of `ended_claims` on the group that can be `reached`, once the
    deliveries that take them are acknowledged. `peer` is what the peer's own instance asks for."""

    def start() -> World:
        world = two_accounts(**{"link-peer": f"sg-db@{PEER}"})
        world.set_tag(Party(PEER, "i-db"), "link-peer", peer or None)
        for message in (LINK, SYNC):
            deliver_without_faults(world, message, POLICY)
        reset(world)
        return world

    def end(world: World, facts: Facts) -> None:
        takers = {"req:r-1": "u-1", "tag": "s-1"}
        due = {claim for claim in ended_claims if ("acked", takers[claim]) in facts}
        left_claims = due & {
            c for key, claims in oracle.owned(world, POLICY).items() if key.group == reached for c in claims
        }
        hold("I9", not left_claims, f"{left_claims} stands on {reached}, since the other side cannot be reached")
        world.revoked.clear()
        world.barred.clear()
        redeliver_and_check(world, facts, (UNLINK, SYNC))
        ours = oracle.owned(half_an_hour_later(world), POLICY)
        hold(
            "I9",
            not ended_claims & {claim for claims in ours.values() for claim in claims},
            f"in the end stands {ours}",
        )

    return Scenario(name, start, POLICY, ((act,), (UNTAG, SYNC), (UNLINK,), (sweep_message(),)), end)


def borrowed_address() -> Scenario:
    """An instance to which sg-db has consented has a public address, takes one of an instance in sg-db's VPC, and then
    the same as another linked instance, until it asks no more."""
    evil, twin, store = Party(HOME, "i-evil"), Party(HOME, "i-twin"), Party(HOME, "i-store")
    tagged, twin_tagged = event("tagged", "tags", evil), event("twin tagged", "tags", twin)

    def start() -> World:
        world = home_world("", "i-evil:tcp/3306 i-twin:tcp/3306")
        for name, vpc, ip in (("evil", "vpc-2", "203.0.113.9"), ("twin", "vpc-3", "10.0.9.9")):
            group = world.add_group(HOME, f"of{name}", vpc=vpc)
            world.add_instance(HOME, name, group, vpc=vpc, ip=ip, peer="i-store:tcp/3306")
        return world

    def move(ip: str) -> Callable[[World], None]:
        def change(world: World) -> None:
            world.instances[evil] = msgspec.structs.replace(world.instances[evil], ip=ip)

        return change

    acts = (
        Act("take i-other's address", move("10.0.0.1")),
        Act("take the twin's address", move("10.0.9.9")),
        Act("untag i-evil", lambda world: world.set_tag(evil, "link-peer", None)),
    )

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        for message in (tagged, twin_tagged):
            reset(world, 400)
            deliver_without_faults(world, message, POLICY)
        if had_fault(facts, "forbidden"):  # the managed tag may have been refused: then only a sweep finds the rule
            reset(world, 500)
            deliver_without_faults(world, LATE_SWEEP, POLICY)
        pairs = [owned_rule.pair for owned_rule in oracle.owned_rules(world, POLICY)]
        hold("I9", pairs == [(twin, store)], f"only i-twin should be linked, not {pairs}")
        redeliver_and_check(world, facts, ())

    lanes = ((tagged, tagged), (twin_tagged,), acts)
    return Scenario("borrowed addresses", start, POLICY, lanes, end)


def removals_of_two_accounts(*, by_account: bool = False) -> Scenario:
    """A tenant's instance with three links is released, which is more than the limit of two, while one instance of home
    is released: the tenant's rules stay, and home's rule is removed. Where an instance is shown and asks no more,
    nothing is held."""
    limited = msgspec.structs.replace(POLICY, limits=Limits(removals_per_run=2))
    tenant = Party(PEER, "i-tenant")

    def start() -> World:
        world = home_world("*", "*")
        group = world.add_group(PEER, "tenant", "*")
        world.set_tag(Party(PEER, "sg-far"), "link-accept", "*")
        world.add_instance(PEER, "tenant", group, peer="sg-far:tcp/1+tcp/2+tcp/3")
        start_one(world, "sg-db:tcp/3306")
        deliver(world, sweep_message(), POLICY)
        del world.instances[tenant]
        world.sweep_queue = SWEEPS if by_account else ""
        return world

    def release(world: World) -> None:
        del world.instances[ONE]

    def end(world: World, facts: Facts) -> None:
        reset(world)
        sweep_all(world, limited)
        ours = oracle.owned(world, POLICY)
        of_home = [key for key in ours if key.group.account == HOME]
        hold("I15", not of_home, f"{of_home} stay, since another account's removals are held")
        is_held = len(ours) == 3 or had_fault(facts, "stale")
        hold("I15", is_held, f"three removals exceed the limit, but the rules are {ours}")
        sweep_and_check(world)

    lanes: tuple[tuple[Step, ...], ...] = ((Act("release", release),), (sweep_message(), sweep_message()))
    if by_account:
        lanes = (lanes[0], (sweep_message(), NextQueued(), NextQueued()))
    name = "removals of two accounts" + (", each swept alone" if by_account else "")
    return Scenario(name, start, limited, lanes, end)


def flood() -> Scenario:
    """A tenant forges rules on two groups, again after each sweep, while home withdraws its consent to one of two
    links. A sweep that no fault disturbs removes what nobody consents to in one run, in both accounts, however often
    others died halfway."""
    evil = [Party(PEER, f"sg-evil{n}") for n in range(2)]

    def start() -> World:
        world = two_accounts(**{"link-peer": "sg-wanted:tcp/3306 sg-left:tcp/3306"})
        for name in ("wanted", "left"):
            world.add_group(HOME, name, "sg-app")
        for group in evil:
            world.add_group(PEER, group.id[3:])
            world.set_tag(group, oracle.managed_tag(POLICY), "true")
        deliver(world, sweep_message(), POLICY)
        forge(world)
        return world

    def forge(world: World) -> None:
        for group in evil:
            for number in range(3):
                key = RuleKey(group, f"sg-x{number}@{PEER}", "", TCP)
                world.forge(key, oracle.marker(key, POLICY, "tag"))

    def end(world: World, facts: Facts) -> None:
        reset(world)
        deliver_without_faults(world, sweep_message(), POLICY)
        groups = {key.group.id for key in oracle.owned(world, POLICY)}
        hold("I9", groups == {"sg-wanted"}, f"rules stand on {groups}, not on sg-wanted alone")
        sweep_and_check(world)

    withdraw = Act("withdraw", lambda world: world.set_tag(Party(HOME, "sg-left"), "link-accept", None))
    lanes = ((sweep_message(), Act("forge", forge), LATE_SWEEP), (withdraw,))
    return Scenario("a flood", start, POLICY, lanes, end)


NEIGHBOURS = [
    forged_half(),
    second_home(),
    stripped_tags(),
    hidden_account(),
    hidden_peer(),
    throttled_peer(),
    read_only_side(),
    borrowed_address(),
    removals_of_two_accounts(),
    flood(),
]
