"""The tiny worlds whose histories are all tried."""

from __future__ import annotations

import json
from collections.abc import Callable

from shared.clock import iso
from shared.model import ALL, Party, Port, RuleKey
from shared.policy import AccountPolicy, Limits, Policy
from tests.simulation import invariants, oracle
from tests.simulation.explore import Act, Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.run import Message, deliver, drained, quiet, reset, stream, sweep_message
from tests.simulation.world import HOME, PEER, REGION, START, World

POLICY = Policy(
    "prod",
    {HOME: AccountPolicy("a"), PEER: AccountPolicy("b", f"acs:ram::{PEER}:role/link-peer", "link-peer-external-id")},
)
APP, DB = Party(HOME, "sg-app"), Party(PEER, "sg-db")
TCP = Port("tcp", 3306, 3306)


def request(name: str, request_id: str, *, action: str = "link", ports: tuple[str, ...] = (), **fields: object) -> Message:
    """A request from APP to DB as the stream delivers it."""
    source, target = fields.pop("ends", (APP, DB))  # type: ignore[misc]
    body = {
        "version": 1,
        "request_id": request_id,
        "action": action,
        "region": REGION,
        "from": {"account": source.account, "party": source.id},
        "to": {"account": target.account, "party": target.id},
        "expires_at": iso(START + 3600),
        **({"ports": list(ports)} if ports else {}),
        **fields,
    }
    return Message(name, "cross_account", stream(json.dumps(body).encode()))


def two_accounts() -> World:
    """sg-app and sg-db in a shared VPC; each has accepted the other, whole. An instance in each: both accounts live."""
    world = World()
    world.add_group(HOME, "app", f"sg-db@{PEER}")
    world.add_group(PEER, "db", f"sg-app@{HOME}")
    world.add_instance(HOME, "app", APP)
    world.add_instance(PEER, "db", DB)
    return world


def mutual(reasons: str) -> dict[RuleKey, frozenset[str]]:
    """Both rules of the link of APP and DB, with these reasons."""
    why = frozenset(reasons.split(","))
    return {RuleKey(DB, str(APP), "", ALL): why, RuleKey(APP, str(DB), "", ALL): why}


def swept(world: World, policy: Policy = POLICY) -> None:
    """One sweep, after which the world is at rest; and another, which must change nothing (I11)."""
    reset(world)
    quiet(world, sweep_message(), policy)
    drained(world, policy)
    invariants.at_rest(world, policy)
    reset(world)
    again = deliver(world, sweep_message(), policy)
    hold("I11", not set(again.calls) & {"authorize", "modify", "revoke", "tag", "untag"}, f"a second sweep: {again.calls}")
    said = [(r["record"], r.get("outcome")) for r in world.records if r["record"] != "summary"]
    hold("I11", all(outcome == "denied" for _, outcome in said), f"a second sweep says {said}")


def redelivered(world: World, facts: Facts, messages: tuple[Message, ...], policy: Policy = POLICY) -> Facts:
    """What was not acknowledged comes again, without faults (I10), and is swept after."""
    known = set(facts)
    for message in messages:
        if ("acked", message.name) not in facts:
            reset(world, message.after)
            ran = quiet(world, message, policy)
            known |= {(message.name, r["outcome"], r.get("reason", "")) for r in ran.watch.outcomes}
    drained(world, policy)
    swept(world, policy)
    return frozenset(known)


def _two_requests_end(*messages: Message) -> Callable[[World, Facts], None]:
    def end(world: World, facts: Facts) -> None:
        lost = world.copy()
        swept(lost)
        ours = oracle.owned(lost, POLICY)
        for message, reason in (("r1", "req:r-1"), ("r2", "req:r-2")):
            if any(fact[:2] == (message, "applied") for fact in facts):
                hold("I6", all(reason in ours.get(key, ()) for key in mutual("x")), f"{message} was applied; now {ours}")
        told = redelivered(world, facts, messages)
        for message in ("r1", "r2"):
            outcomes = {fact[1:] for fact in told if fact[0] == message}
            if ("fault", "forbidden") not in facts:
                hold("I4", len(outcomes) == 1, f"{message} has the outcomes {outcomes}")
                hold("I13", outcomes == {("applied", "")}, f"{message} ends {outcomes}")
                ours = oracle.owned(world, POLICY)
                hold("I6", ours == mutual("req:r-1,req:r-2"), f"both were applied; now {ours}")

    return end


def two_requests(**options: object) -> Scenario:
    """Two requests for one mutual link of two accounts, each delivered twice."""
    r1, r2 = request("r1", "r-1"), request("r2", "r-2")
    lanes = ((r1, r1), (r2, r2))
    return Scenario("two requests, one link", two_accounts, POLICY, lanes, _two_requests_end(r1, r2), **options)  # type: ignore[arg-type]
