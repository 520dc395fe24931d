"""The world of two accounts that most scenarios use, requests between its groups, and the checks at the end of a
history."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from link_peer.domain.model import ALL, Party, Port, RuleKey
from link_peer.domain.policy import AccountPolicy, Policy
from link_peer.domain.tags import iso

from tests.simulation import invariants, oracle
from tests.simulation.driver import deliver_queue, deliver_without_faults, reset
from tests.simulation.explore import Act, Facts
from tests.simulation.invariants import hold
from tests.simulation.messages import Message, stream, sweep_message
from tests.simulation.run import CHANGES, Run
from tests.simulation.world import HOME, PEER, REGION, START, World

POLICY = Policy(
    "prod",
    {HOME: AccountPolicy("a"), PEER: AccountPolicy("b", f"acs:ram::{PEER}:role/link-peer", "link-peer-external-id")},
)
OTHER_HOME = "1000000000000003"
SECOND_HOME = Policy("prod", {OTHER_HOME: AccountPolicy("c"), PEER: POLICY.accounts[PEER]})
"""The policy of another home account that uses the same deployment name, and shares the peer account."""

APP, DB = Party(HOME, "sg-app"), Party(PEER, "sg-db")
ROTATIONS, SWEEP_SECONDS = 6, 600  # in so many sweeps, each group of these small worlds has had its turn
TCP, UDP = Port("tcp", 3306, 3306), Port("udp", 53, 53)
TCP_RULE = RuleKey(DB, str(APP), "", TCP)
HOSTILE = "\r\nred \x1b[31m, turned \u202e, hidden \u200b, {} %s"
"""Free text of a request, with control characters that no record may contain."""


def request(
    name: str,
    request_id: str,
    *ports: str,
    action: str = "link",
    between: tuple[Party, Party] = (APP, DB),
    **fields: Any,
) -> Message:
    """A request from one party to another, as the stream delivers it."""
    source, target = between
    body = {
        "version": 1,
        "request_id": request_id,
        "action": action,
        "region": REGION,
        "from": {"account": source.account, "party": source.id},
        "to": {"account": target.account, "party": target.id},
        "expires_at": iso(START + 3600),
        "reason": HOSTILE,
        "requested_by": HOSTILE,
        **({"ports": list(ports)} if ports else {}),
        **fields,
    }
    return Message(name, "cross_account", stream(json.dumps(body).encode()))


SYNC = request("s-1", "tag-0000000000000000", action="sync")
LATE_SWEEP = msgspec.structs.replace(sweep_message(3000), name="late sweep")
LINK, UNLINK = request("r-1", "r-1"), request("u-1", "u-1", action="unlink")
PORT_LINK = request("r-1", "r-1", "tcp/3306")
R1 = frozenset({"req:r-1"})
UNTAG = Act("untag", lambda world: world.set_tag(Party(HOME, "i-app"), "link-peer", None))
WITHDRAW = Act("withdraw", lambda world: world.set_tag(DB, "link-accept", None))


def two_accounts(**tags: str) -> World:
    """sg-app and sg-db in a shared VPC; each consents to the other on all ports. Each has one instance; i-app has
    `tags`."""
    world = World()
    world.add_group(HOME, "app", f"sg-db@{PEER}")
    world.add_group(PEER, "db", f"sg-app@{HOME}")
    world.add_instance(HOME, "app", APP, tags=tags)
    world.add_instance(PEER, "db", DB)
    return world


def two_accounts_and_a_tag() -> World:
    """The same, and i-app has a tag that asks for TCP_RULE."""
    return two_accounts(**{"link-peer": f"sg-db@{PEER}:tcp/3306"})


def mutual_rules() -> list[RuleKey]:
    """The rules of a mutual link of APP and DB: first the one on DB."""
    return [RuleKey(DB, str(APP), "", ALL), RuleKey(APP, str(DB), "", ALL)]


def sweep_and_check(world: World, policy: Policy = POLICY) -> None:
    """Sweeps and checks the world at rest; then sweeps again, which must change nothing (I11). Half of a request's link
    may stay until it is old; a later sweep removes it."""
    reset(world)
    sweep_to_rest(world, policy)
    invariants.at_rest(world, policy)
    reset(world)
    second = [call for run in sweep_all(world, policy) for call in run.calls]
    hold("I11", not set(second) & CHANGES, f"a second sweep makes changes: {second} {world.records}")
    outcomes = [r["outcome"] for r in world.records if r["record"] == "outcome"]
    hold("I11", all(outcome in ("denied", "failed") for outcome in outcomes), f"outcomes of a second sweep: {outcomes}")
    if invariants.half_open(world, policy):
        invariants.at_rest(half_an_hour_later(world, policy), policy)


def half_an_hour_later(world: World, policy: Policy = POLICY) -> World:
    """The world after a sweep at a time when half of a request's link is old enough to be removed."""
    later = world.copy()
    creation_times = [oracle.created(owned_rule.rule) for owned_rule in oracle.owned_rules(world, policy)]
    later.now = max([world.now, *creation_times]) + oracle.HALF_OPEN_SECONDS
    sweep_to_rest(later, policy)
    return later


def sweep_to_rest(world: World, policy: Policy = POLICY) -> None:
    """Delivers what is on the queues, then sweeps. If a group has lost its managed tag, sweeps go on until each group
    has had its turn, which takes a day at most, and once more: a sweep that comes across such a group writes the tag,
    and the next one judges its rules. So does the next one the port rules of the other account whose place a mutual
    link took."""
    deliver_queue(world, policy)
    for number in range(ROTATIONS + 1):
        was_stripped = invariants.stripped(world, policy)
        world.now += SWEEP_SECONDS if number else 0
        runs = sweep_all(world, policy)
        if not was_stripped and not any(map(_opens_across, runs)):
            break


def _opens_across(run: Run) -> bool:
    """Whether a delivery opened a mutual link between two accounts."""
    applied = [record for record in run.watch.outcomes if record["outcome"] == "applied"]
    return any(r["ports"] == "mutual" and r["from_account"] != r["to_account"] for r in applied)


def sweep_all(world: World, policy: Policy = POLICY) -> list[Run]:
    """One sweep without faults; of each account, where the timer only posts the turns of accounts."""
    return [deliver_without_faults(world, sweep_message(), policy), *deliver_queue(world, policy)]


def redeliver_and_check(world: World, facts: Facts, messages: Sequence[Message], policy: Policy = POLICY) -> Facts:
    """Redelivers what was not acknowledged, without faults (I10), and what was put on the queues, then sweeps and
    checks. Returns all facts; what a message came to on the queue is a fact of its request id."""
    facts_before = set(facts)
    for message in messages:
        if ("acked", message.name) not in facts:
            reset(world, message.after)
            run = deliver_without_faults(world, message, policy)
            facts_before |= {(message.name, r["outcome"], r.get("reason", "")) for r in run.watch.outcomes}
    for run in deliver_queue(world, policy):
        facts_before |= {(r.get("request_id", ""), r["outcome"], r.get("reason", "")) for r in run.watch.outcomes}
    sweep_and_check(world, policy)
    return frozenset(facts_before)


def rests(*messages: Message) -> Callable[[World, Facts], None]:
    """An end at which these messages are redelivered, and the world is at rest."""

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, messages)

    return end


def rests_without_rules(reason: str, *messages: Message, policy: Policy = POLICY) -> Callable[[World, Facts], None]:
    """An end with and without redelivery of these messages, after which no rule of ours stands: `reason` says what
    forbids it."""

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy(), policy)
        redeliver_and_check(world, facts, messages, policy)
        hold_rules("I1", world, {}, f"rules exist though {reason}", policy)

    return end


def hold_rules(
    invariant: str, world: World, expected: Mapping[RuleKey, Collection[str]], text: str, policy: Policy = POLICY
) -> None:
    """Holds if exactly these rules of ours exist, with these claims."""
    owned_claims = oracle.owned(world, policy)
    hold(invariant, owned_claims == expected, f"{text}: {owned_claims}")


def hold_wanted(invariant: str, world: World, *, needs_rules: bool = False) -> None:
    """Holds if exactly the rules of ours exist that tags ask for; with `needs_rules`, only if they ask for any."""
    owned_claims, tagged = oracle.owned(world, POLICY), oracle.wanted_by_tags(world, POLICY)
    equal = owned_claims.keys() == tagged.keys() and (bool(tagged) or not needs_rules)
    hold(invariant, equal, f"tags ask for {tagged.keys()}, but the rules are {owned_claims.keys()}")


def outcomes_of(facts: Facts, message: str) -> set[tuple[str, ...]]:
    """Every (outcome, reason) that was recorded for a message."""
    return {fact[1:] for fact in facts if fact[0] == message and len(fact) == 3}


def had_fault(facts: Facts, *kinds: str) -> bool:
    """Whether the history contains a fault of one of these kinds."""
    return any(("fault", kind) in facts for kind in kinds)
