"""Links from advanced groups, which let nothing out by default: rules at both ends, or at neither."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from link_peer.domain.model import Party, RuleKey
from link_peer.domain.policy import Allow, Policy
from link_peer.domain.tags import parse_who

from tests.simulation import oracle
from tests.simulation.driver import deliver, deliver_queue, deliver_without_faults
from tests.simulation.explore import Act, Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import Message, sweep_message
from tests.simulation.scenarios.addresses import BY_ADDRESS, HOME_DB, ONE, OTHER, change
from tests.simulation.scenarios.common import (
    APP,
    R1,
    TCP,
    had_fault,
    half_an_hour_later,
    hold_rules,
    outcomes_of,
    redeliver_and_check,
    request,
    sweep_and_check,
)
from tests.simulation.scenarios.instances import event
from tests.simulation.world import HOME, PEER, World

STORE, CACHE = Party(HOME, "i-store"), Party(HOME, "i-cache")
DB_FAR, FAR = Party(PEER, "sg-db"), Party(PEER, "i-far")
LINK = request("r-1", "r-1", "tcp/3306", between=(APP, HOME_DB))
UNLINK = request("u-1", "u-1", action="unlink", between=(APP, HOME_DB))
FAR_LINK = request("r-1", "r-1", "tcp/3306", between=(APP, DB_FAR))
PAIR_LINK = request("r-1", "r-1", "tcp/3306", between=(ONE, STORE))
PAIR_UNLINK = request("u-1", "u-1", action="unlink", between=(ONE, STORE))
TAGGED = {"link-peer": "sg-db:tcp/3306"}
AT_APP, AT_DB = event("app", "tags", APP), event("db", "tags", HOME_DB)
BY_POLICY = msgspec.structs.replace(
    BY_ADDRESS,
    accept_tags=False,
    allow=(Allow(parse_who(f"*@{HOME}", None), parse_who(f"*@{HOME}", None), (), "home"),),
)
"""The policy consents at both ends, whatever the tags say."""

FOR_ONE = msgspec.structs.replace(
    BY_POLICY, allow=(Allow(parse_who(f"i-one@{HOME}", None), parse_who(f"sg-db@{HOME}", None), (), "i-one"),)
)


def advanced(**tags: str) -> World:
    """Advanced groups at home: sg-app with i-one, which has `tags`, and sg-db with i-store, which consent to each other
    on tcp/3306; and sg-other with i-cache."""
    world = World()
    world.add_group(HOME, "app", egress="sg-db:tcp/3306", advanced=True)
    world.add_group(HOME, "db", "sg-app:tcp/3306", advanced=True)
    world.add_group(HOME, "other", advanced=True)
    world.add_instance(HOME, "one", APP, tags=tags)
    world.add_instance(HOME, "store", HOME_DB)
    world.add_instance(HOME, "cache", OTHER)
    return world


def two_accounts() -> World:
    """An advanced sg-app at home, and a basic sg-db in another account and VPC, which consent to each other."""
    world = World()
    world.add_group(HOME, "app", egress=f"sg-db@{PEER}:tcp/3306", advanced=True)
    world.add_group(PEER, "db", f"sg-app@{HOME}:tcp/3306", vpc="vpc-2")
    world.add_instance(HOME, "one", APP)
    world.add_instance(PEER, "far", DB_FAR, vpc="vpc-2", ip="10.1.0.1")
    return world


def linked(*messages: Message, policy: Policy = BY_ADDRESS, **tags: str) -> Callable[[], World]:
    """The world of advanced groups after these deliveries."""

    def start() -> World:
        world = advanced(**tags)
        for message in messages:
            deliver(world, message, policy)
        return world

    return start


def both_ends_of(
    *, senders: tuple[str, ...] = ("10.0.0.1",), targets: tuple[str, ...] = ("10.0.0.2",)
) -> dict[RuleKey, frozenset[str]]:
    """The rules of the request r-1 at both ends, by addresses."""
    ingress = [RuleKey(HOME_DB, f"{ip}/32", "", TCP) for ip in senders]
    return dict.fromkeys([*ingress, *(RuleKey(APP, "", f"{ip}/32", TCP) for ip in targets)], R1)


def _ends_closed(*messages: Message, last: Message | None = None) -> Callable[[World, Facts], None]:
    """An end with and without redelivery, after which a `last` message leaves no rule of ours, at either end."""

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy(), BY_ADDRESS)
        redeliver_and_check(world, facts, messages, BY_ADDRESS)
        if last:
            deliver_without_faults(world, last, BY_ADDRESS)
            deliver_queue(world, BY_ADDRESS)
            sweep_and_check(world, BY_ADDRESS)
        hold_rules("I3", half_an_hour_later(world, BY_ADDRESS), {}, "rules stand after all was closed", BY_ADDRESS)

    return end


def opened_and_closed() -> Scenario:
    """A request opens both ends, and an unlink closes them."""
    lanes = ((LINK, LINK), (UNLINK,), (sweep_message(),))
    return Scenario("both ends", advanced, BY_ADDRESS, lanes, _ends_closed(LINK, UNLINK, last=UNLINK))


def across_accounts() -> Scenario:
    """The same across VPCs and accounts."""
    unlink = request("u-1", "u-1", action="unlink", between=(APP, DB_FAR))
    lanes = ((FAR_LINK, FAR_LINK), (unlink,), (sweep_message(),))
    end = _ends_closed(FAR_LINK, unlink, last=unlink)
    return Scenario("both ends, two accounts", two_accounts, BY_ADDRESS, lanes, end)


def tagged() -> Scenario:
    """An instance asks by tag, and no longer."""
    started, untagged = event("started", "Running", ONE), event("untagged", "tags", ONE)
    untag = Act("untag", lambda world: world.set_tag(ONE, "link-peer", None))
    lanes = ((started, started), (untag, untagged), (sweep_message(),))
    return Scenario("both ends by tag", lambda: advanced(**TAGGED), BY_ADDRESS, lanes, _ends_closed(started, untagged))


def one_end_refuses(side: Party) -> Scenario:
    """The cloud refuses new rules at one end, which only the change itself shows: nothing stands at the other."""

    def start() -> World:
        world = advanced()
        world.full.add(side)
        return world

    return Scenario(
        f"{side.id} of both ends refuses", start, BY_ADDRESS, ((LINK, LINK), (sweep_message(),)), _ends_closed(LINK)
    )


def between_instances() -> Scenario:
    """Of a link between instances; another request shares its egress rule."""
    second_request = request("r-2", "r-2", "tcp/3306", between=(CACHE, STORE))

    def start() -> World:
        world = advanced()
        world.set_tag(APP, "link-egress", "i-store")
        world.set_tag(HOME_DB, "link-accept", "sg-app")
        world.instances[CACHE] = msgspec.structs.replace(world.instances[CACHE], groups=("sg-app",))
        return world

    def end(world: World, facts: Facts) -> None:
        facts_after = redeliver_and_check(world, facts, (PAIR_LINK, second_request, PAIR_UNLINK), BY_ADDRESS)
        deliver_without_faults(world, PAIR_UNLINK, BY_ADDRESS)
        deliver_queue(world, BY_ADDRESS)
        sweep_and_check(world, BY_ADDRESS)
        world = half_an_hour_later(world, BY_ADDRESS)
        r2 = frozenset({"req:r-2"})
        keys = RuleKey(HOME_DB, "10.0.0.3/32", "10.0.0.2/32", TCP), RuleKey(APP, "", "10.0.0.2/32", TCP)
        # a request that finds no access, or no instance, is denied, and has to be posted again
        is_denied = "denied" in {outcome for outcome, _ in outcomes_of(facts_after, "r-2")}
        is_denied &= not oracle.owned(world, BY_ADDRESS)
        expected = {} if is_denied else dict.fromkeys(keys, r2)
        hold_rules("I6", world, expected, "the rules of r-2 alone should stand", BY_ADDRESS)

    lanes = ((PAIR_LINK, PAIR_UNLINK), (second_request,), (sweep_message(),))
    return Scenario("both ends of instances", start, BY_ADDRESS, lanes, end)


def target_changes(name: str, act: Act, moved: Party, state: str, *targets: str) -> Scenario:
    """An instance of the target joins, leaves, gets another address, or is released: the egress rules follow, at its
    event and at the sweep."""
    changed = event("changed", state, moved)
    lanes = ((act, changed, changed), (LINK,), (sweep_message(),))

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy(), BY_ADDRESS)
        redeliver_and_check(world, facts, (LINK, changed), BY_ADDRESS)
        expected = both_ends_of(targets=targets)
        if not had_fault(facts, "forbidden", "stale"):
            former = oracle.owned(world, BY_ADDRESS).keys() - expected
            hold("I9", not former, f"{former} should be gone")
        if not had_fault(facts, "forbidden"):
            # who was killed between an old address and the new one left half of a link
            deliver_without_faults(world, LINK, BY_ADDRESS)
            sweep_and_check(world, BY_ADDRESS)
            hold_rules("I6", world, expected, f"{targets} should be let out to, but the rules are", BY_ADDRESS)

    return Scenario(f"a target {name}", linked(LINK), BY_ADDRESS, lanes, end)


def _move(world: World) -> None:
    """i-store gets another address, and i-cache, which is no target, its old one."""
    change(STORE, ip="10.0.0.9")(world)
    change(CACHE, ip="10.0.0.2")(world)


def _exchange(world: World) -> None:
    """i-store leaves the target's group, and i-cache joins it."""
    change(STORE, groups=("sg-other",))(world)
    change(CACHE, groups=("sg-db",))(world)


def _tag_of(group: Party, key: str, value: str | None) -> Act:
    return Act(f"{group.id} gets {key}={value}", lambda world: world.set_tag(group, key, value))


def one_end_withdraws(name: str, act: Act, at: Message, policy: Policy = BY_ADDRESS, again: Message = LINK) -> Scenario:
    """One end no longer allows what stands: both go at its event, or at the sweep, also for an instance that asks by
    tag, and nothing is opened again."""

    def end(world: World, facts: Facts) -> None:
        for delivered in (world.copy(), world):
            messages = (again, at) if delivered is world else ()
            redeliver_and_check(delivered, facts, messages, policy)
            hold_rules("I1", delivered, {}, f"rules stand, though {act.name}", policy)

    lanes = ((act, at), (again,), (sweep_message(),))
    return Scenario(name, linked(again, policy=policy, **TAGGED), policy, lanes, end)


def refused_consents() -> Scenario:
    """What a group says of whom it refuses is no consent, at either end."""

    def start() -> World:
        world = advanced()
        for group, key in ((APP, "link-egress"), (HOME_DB, "link-accept")):
            world.set_tag(group, key, None)
        world.set_tag(HOME_DB, "link-refuse", "sg-app:tcp/3306")
        world.set_tag(APP, "link-refuse.two", "sg-db:tcp/3306")
        return world

    act = _tag_of(HOME_DB, "link-refuse", None)
    return Scenario("a refusal is no consent", start, BY_ADDRESS, ((LINK, LINK), (act, AT_DB)), _ends_closed(LINK))


def basic_source() -> Scenario:
    """A basic group lets everything out: a link from it has no egress rule, whatever the policy and its tags consent
    to."""

    def start() -> World:
        world = advanced(**TAGGED)
        world.groups[APP] = msgspec.structs.replace(world.groups[APP], advanced=False)
        return world

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (LINK,), BY_POLICY)
        key = RuleKey(HOME_DB, "10.0.0.1/32", "", TCP)
        # a request that is refused access, or shown no instance of its source, is denied: then the tag alone asks
        may_be_denied = had_fault(facts, "forbidden", "omit-one", "empty")
        is_granted = not may_be_denied or oracle.owned(world, BY_POLICY).get(key, frozenset()) >= R1
        expected = {key: frozenset({"tag"}) | (R1 if is_granted else frozenset())}
        hold_rules("I6", world, expected, "i-one alone should be admitted, but the rules are", BY_POLICY)

    return Scenario("a basic source", start, BY_POLICY, ((LINK,), (sweep_message(),)), end)


def beside_a_person() -> Scenario:
    """A person lets everything out, and no longer: where no rule of ours stands none is written meanwhile, and what
    becomes half a link by tag is completed."""
    let_out = Act("let out", lambda world: world.let_out(APP, TCP))

    def shut(world: World) -> None:
        for rule in list(world.rules[APP].values()):
            if rule.key is None:
                world.delete_manually(APP, rule.id)

    started = event("started", "Running", ONE)
    lanes = ((let_out, Act("shut", shut)), (started, started), (sweep_message(),))

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (started,), BY_ADDRESS)

    return Scenario("let out by a person", lambda: advanced(**TAGGED), BY_ADDRESS, lanes, end)


def shown_in_part(name: str, policy: Policy, wish: str) -> Scenario:
    """Reads show no instances, or not all, nor all groups: what stands by tag stays at both ends, unless the account
    shows others."""

    def start() -> World:
        world = advanced(**{"link-peer": wish})
        deliver(world, event("started", "Running", ONE), policy)
        return world

    standing = oracle.owned(start(), policy)

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (), policy)
        hold_rules("I9", world, standing, "the rules that stood should stand, but there are", policy)

    lanes = ((sweep_message(), sweep_message()), (event("again", "tags", ONE), AT_APP))
    kinds = ("empty", "omit-one", "omit-group")
    return Scenario(f"both ends shown in part, {name}", start, policy, lanes, end, kinds=kinds)


def half_of_a_request() -> Scenario:
    """A person deletes the rules of one end of a request's link: the other end goes once no delivery can be writing it,
    unless the request comes again."""

    def delete(group: Party) -> Act:
        def do(world: World) -> None:
            for rule in list(world.rules[group].values()):
                world.delete_manually(group, rule.id)

        return Act(f"delete the rules of {group.id}", do)

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (), BY_ADDRESS)
        redeliver_and_check(world, facts, (UNLINK,), BY_ADDRESS)

    lanes = ((delete(APP), LINK), (delete(HOME_DB),), (sweep_message(),))
    return Scenario("half of both ends", linked(LINK), BY_ADDRESS, lanes, end)


BOTH_ENDS = [
    opened_and_closed(),
    across_accounts(),
    tagged(),
    one_end_refuses(APP),
    one_end_refuses(HOME_DB),
    between_instances(),
    target_changes(
        "joins", Act("i-cache joins", change(CACHE, groups=("sg-db",))), CACHE, "moved", "10.0.0.2", "10.0.0.3"
    ),
    target_changes(
        "moves",
        Act(
            "i-store's address changes",
            _move,
        ),
        STORE,
        "Running",
        "10.0.0.9",
    ),
    target_changes("leaves", Act("i-store leaves, i-cache joins", _exchange), STORE, "moved", "10.0.0.3"),
    one_end_withdraws("egress consent ends", _tag_of(APP, "link-egress", None), AT_APP),
    one_end_withdraws("ingress consent ends at both ends", _tag_of(HOME_DB, "link-accept", None), AT_DB),
    one_end_withdraws("the source of both ends is locked", _tag_of(APP, "link-lock", ""), AT_APP, BY_POLICY),
    one_end_withdraws("the source of both ends refuses", _tag_of(APP, "link-refuse", "sg-db"), AT_APP, BY_POLICY),
    one_end_withdraws(
        "a target has an address of nobody's",
        Act("i-store gets a public address", change(STORE, ip="8.8.8.8")),
        event("changed", "Running", STORE),
    ),
    refused_consents(),
    basic_source(),
    beside_a_person(),
    half_of_a_request(),
    shown_in_part("groups", BY_ADDRESS, "sg-db:tcp/3306"),
    shown_in_part("instances", BY_ADDRESS, "i-store:tcp/3306"),
    shown_in_part("by an instance's entry", FOR_ONE, "sg-db:tcp/3306"),
]
