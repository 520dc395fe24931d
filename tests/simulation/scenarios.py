"""The tiny worlds whose histories are all tried: requests of two accounts. Events of instances: lifecycle.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from link_peer.domain.model import ALL, Party, Port, RuleKey
from link_peer.domain.policy import AccountPolicy, Policy
from link_peer.domain.tags import iso

from tests.simulation import invariants, oracle
from tests.simulation.explore import Act, Facts, Scenario, Step
from tests.simulation.invariants import hold
from tests.simulation.run import Message, deliver, drained, quiet, requests_in, reset, stream, sweep_message
from tests.simulation.world import HOME, PEER, REGION, START, World

POLICY = Policy(
    "prod",
    {HOME: AccountPolicy("a"), PEER: AccountPolicy("b", f"acs:ram::{PEER}:role/link-peer", "link-peer-external-id")},
)
APP, DB = Party(HOME, "sg-app"), Party(PEER, "sg-db")
TCP, UDP = Port("tcp", 3306, 3306), Port("udp", 53, 53)
HOSTILE = "\r\nred \x1b[31m, turned \u202e, hidden \u200b, {} %s"
"""What a request may say of itself, and no record may hold as it is."""

CHANGES = frozenset({"authorize", "modify", "revoke", "tag", "untag"})


def request(name: str, request_id: str, *ports: str, action: str = "link", **fields: Any) -> Message:
    """A request from APP to DB as the stream delivers it."""
    body = {
        "version": 1,
        "request_id": request_id,
        "action": action,
        "region": REGION,
        "from": {"account": HOME, "party": "sg-app"},
        "to": {"account": PEER, "party": "sg-db"},
        "expires_at": iso(START + 3600),
        "reason": HOSTILE,
        "requested_by": HOSTILE,
        **({"ports": list(ports)} if ports else {}),
        **fields,
    }
    return Message(name, "cross_account", stream(json.dumps(body).encode()))


def two_accounts(**tags: str) -> World:
    """sg-app and sg-db in a shared VPC; each has accepted the other, whole. An instance in each: both accounts live."""
    world = World()
    world.add_group(HOME, "app", f"sg-db@{PEER}")
    world.add_group(PEER, "db", f"sg-app@{HOME}")
    world.add_instance(HOME, "app", APP, tags=tags)
    world.add_instance(PEER, "db", DB)
    return world


def mutual_rules() -> list[RuleKey]:
    return [RuleKey(DB, str(APP), "", ALL), RuleKey(APP, str(DB), "", ALL)]


def swept(world: World, policy: Policy = POLICY) -> None:
    """One sweep, after which the world is at rest; and another, which must change nothing (I11)."""
    reset(world)
    quiet(world, sweep_message(), policy)
    drained(world, policy)
    invariants.at_rest(world, policy)
    reset(world)
    again = deliver(world, sweep_message(), policy)
    hold("I11", not set(again.calls) & CHANGES, f"a second sweep: {again.calls} {world.records}")
    outcomes = [r["outcome"] for r in world.records if r["record"] == "outcome"]
    hold("I11", all(outcome in ("denied", "failed") for outcome in outcomes), f"a second sweep says {outcomes}")


def redelivered(world: World, facts: Facts, messages: Sequence[Message], policy: Policy = POLICY) -> Facts:
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


def outcomes_of(facts: Facts, message: str) -> set[tuple[str, ...]]:
    return {fact[1:] for fact in facts if fact[0] == message and len(fact) == 3}


def _messages(lanes: tuple[tuple[Step, ...], ...]) -> list[Message]:
    return list(dict.fromkeys(step for lane in lanes for step in lane if isinstance(step, Message)))


def _both_applied(*messages: Message, expect: dict[RuleKey, str]) -> Callable[[World, Facts], None]:
    """Every message is `applied`, and then `expect` stands: these rules for these reasons."""

    def end(world: World, facts: Facts) -> None:
        lost = world.copy()  # nothing comes again: the dead-letter queue has it
        swept(lost)
        ours = oracle.owned(lost, POLICY)
        # a read that shows the time before a taking back is a limit
        deceived = {("fault", "forbidden"), ("fault", "stale")} <= facts
        for message in messages:
            if (message.name, "applied", "") in facts and not deceived:
                reason = f"req:{message.name}"
                kept = [key for key, why in expect.items() if reason in why]
                hold("I6", all(reason in ours.get(k, ()) for k in kept), f"{message.name} was applied; now {ours}")
        told = redelivered(world, facts, messages)
        if ("fault", "forbidden") in facts:
            return
        for message in messages:
            told_of = outcomes_of(told, message.name)
            hold("I4", len(told_of) == 1, f"{message.name} has the outcomes {told_of}")
            hold("I13", told_of == {("applied", "")}, f"{message.name} ends {told_of}")
        found = oracle.owned(world, POLICY)
        hold("I6", found == {key: frozenset(why.split(",")) for key, why in expect.items()}, f"now {found}")

    return end


def two_requests(**options: Any) -> Scenario:
    """Two requests for one mutual link of two accounts, each delivered twice."""
    r1, r2 = request("r-1", "r-1"), request("r-2", "r-2")
    expect = dict.fromkeys(mutual_rules(), "req:r-1,req:r-2")
    end = _both_applied(r1, r2, expect=expect)
    return Scenario("two requests, one link", two_accounts, POLICY, ((r1, r1), (r2, r2)), end, **options)


def ports_and_mutual(**options: Any) -> Scenario:
    """A link of two ports and a mutual one between the same groups: they share no rule."""
    r1, r2 = request("r-1", "r-1", "tcp/3306", "udp/53"), request("r-2", "r-2")
    expect = {RuleKey(DB, str(APP), "", port): "req:r-1" for port in (TCP, UDP)}
    expect |= dict.fromkeys(mutual_rules(), "req:r-2")
    end = _both_applied(r1, r2, expect=expect)
    return Scenario("ports and mutual", two_accounts, POLICY, ((r1, r1), (r2, r2)), end, **options)


def overlapping_ports(**options: Any) -> Scenario:
    """Two requests that share one of their ports."""
    r1, r2 = request("r-1", "r-1", "tcp/3306", "udp/53"), request("r-2", "r-2", "tcp/3306", "icmp")
    expect = {
        RuleKey(DB, str(APP), "", TCP): "req:r-1,req:r-2",
        RuleKey(DB, str(APP), "", UDP): "req:r-1",
        RuleKey(DB, str(APP), "", Port("icmp")): "req:r-2",
    }
    end = _both_applied(r1, r2, expect=expect)
    return Scenario("overlapping ports", two_accounts, POLICY, ((r1, r1), (r2, r2)), end, **options)


def link_and_unlink(**options: Any) -> Scenario:
    """A request's link, another's, and an unlink, which takes both away; whichever order: never half."""
    r1, r2 = request("r-1", "r-1"), request("r-2", "r-2")
    gone = request("u-1", "u-1", action="unlink")
    lanes = ((r1, r1), (r2,), (gone, gone))

    def end(world: World, facts: Facts) -> None:
        swept(world.copy())
        told = redelivered(world, facts, (r1, r2))
        ran = quiet(world, gone, POLICY)
        swept(world)
        hold("I6", oracle.owned(world, POLICY) == {}, f"all was unlinked; now {oracle.owned(world, POLICY)}")
        hold("I4", {r["outcome"] for r in ran.watch.outcomes} <= {"removed", "unchanged"}, f"{ran.watch.outcomes}")
        hold("I10", bool(told), "nothing was ever said")

    return Scenario("link and unlink", two_accounts, POLICY, lanes, end, **options)


def tag_and_request(**options: Any) -> Scenario:
    """A tag and a request want one link; the tag goes in the middle, the request's rules stay."""
    ports = ("tcp/3306",)
    sync = request("s-1", "tag-0000000000000000", action="sync")
    link = request("r-1", "r-1", *ports)
    untag = Act("untag", lambda world: world.set_tag(Party(HOME, "i-app"), "link-peer", None))

    def start() -> World:
        return two_accounts(**{"link-peer": f"sg-db@{PEER}:tcp/3306"})

    def end(world: World, facts: Facts) -> None:
        swept(world.copy())
        redelivered(world, facts, (sync, link))
        found = oracle.owned(world, POLICY)
        # a read that lags behind a change of another delivery can cost a reason: docs/guarantees.md, limits
        if not {("fault", "forbidden"), ("fault", "stale")} & facts:
            hold("I9", found == {RuleKey(DB, str(APP), "", TCP): frozenset({"req:r-1"})}, f"now {found}")

    return Scenario("tag and request", start, POLICY, ((sync, untag, sync), (link, link)), end, **options)


def tag_and_unlink(**options: Any) -> Scenario:
    """An unlink takes the request's reason; the tag's stays, and with it the rule."""
    sync = request("s-1", "tag-0000000000000000", action="sync")
    link, gone = request("r-1", "r-1", "tcp/3306"), request("u-1", "u-1", action="unlink")

    def start() -> World:
        return two_accounts(**{"link-peer": f"sg-db@{PEER}:tcp/3306"})

    def end(world: World, facts: Facts) -> None:
        redelivered(world, facts, (sync, link))
        quiet(world, gone, POLICY)
        found = oracle.owned(world, POLICY)
        if ("fault", "stale") not in facts:
            hold("I9", found == {RuleKey(DB, str(APP), "", TCP): frozenset({"tag"})}, f"now {found}")

    return Scenario("tag and unlink", start, POLICY, ((sync, gone), (link, link)), end, **options)


def hand_made(**options: Any) -> Scenario:
    """A person's rule equals one side of the link: it counts as present, and outlives everything (I2)."""
    link, gone = request("r-1", "r-1"), request("u-1", "u-1", action="unlink")

    def start() -> World:
        world = two_accounts()
        world.hand_rule(mutual_rules()[0], "before link-peer", priority=50)
        return world

    def end(world: World, facts: Facts) -> None:
        swept(world.copy())
        redelivered(world, facts, (link,))
        quiet(world, gone, POLICY)
        swept(world)
        left = oracle.present(world)
        hold("I2", left == {mutual_rules()[0]}, f"only the person's rule should be left; now {left}")

    return Scenario("a person's rule", start, POLICY, ((link, link), (gone,)), end, **options)


def hand_made_refused(**options: Any) -> Scenario:
    """A person's rule on sg-db, and sg-app takes no rule: taking back what was begun leaves the person's rule (I2)."""
    link = request("r-1", "r-1")

    def start() -> World:
        world = two_accounts()
        world.hand_rule(mutual_rules()[0], "before link-peer", priority=50)
        world.full.add(APP)
        return world

    def end(world: World, facts: Facts) -> None:
        swept(world.copy())
        redelivered(world, facts, (link,))
        hold("I2", oracle.present(world) == {mutual_rules()[0]}, f"now {oracle.present(world)}")

    return Scenario("a person's rule, and a refusal", start, POLICY, ((link, link), (sweep_message(),)), end, **options)


def copied_marker(**options: Any) -> Scenario:
    """A person copies our description to a rule of theirs, on another port, and another deployment has a rule there: they
    are theirs all the same (I2)."""
    link, gone = request("r-1", "r-1", "tcp/3306"), request("u-1", "u-1", action="unlink")

    def copy(world: World) -> None:
        for rule in list(world.rules[DB].values()):
            world.hand_rule(RuleKey(DB, str(APP), "", UDP), rule.description, priority=100)
        other = RuleKey(DB, str(APP), "", Port("tcp", 1, 1))
        world.hand_rule(other, f"link-peer/1 dep=other id={oracle.rule_id(other, 'other')} by=tag", priority=100)

    def end(world: World, facts: Facts) -> None:
        redelivered(world, facts, (link,))
        quiet(world, gone, POLICY)
        swept(world)
        hold("I2", len(oracle.present(world)) == len(world.human), f"now {oracle.present(world)}")

    lanes = ((link, Act("copy the description", copy), sweep_message()), (gone,))
    return Scenario("a copied marker", two_accounts, POLICY, lanes, end, **options)


def second_side_refuses(side: Party, **options: Any) -> Scenario:
    """One group takes no further rule, which only the change tells: both sides or neither."""
    r1, r2 = request("r-1", "r-1"), request("r-2", "r-2")

    def start() -> World:
        world = two_accounts()
        world.full.add(side)
        return world

    def end(world: World, facts: Facts) -> None:
        lost = world.copy()
        swept(lost)
        hold("I3", oracle.owned(lost, POLICY) == {}, f"swept, and now {oracle.owned(lost, POLICY)}")
        told = redelivered(world, facts, (r1, r2))
        hold("I3", oracle.owned(world, POLICY) == {}, f"refused, and now {oracle.owned(world, POLICY)}")
        for message in (r1, r2):
            ends = outcomes_of(told, message.name) - {("denied", "no-access"), ("removed", "no-access")}
            hold("I4", ends <= {("failed", "quota"), ("removed", "quota")}, f"{message.name} ends {ends}")

    return Scenario(f"{side.id} refuses", start, POLICY, ((r1, r1), (r2, r2)), end, **options)


def made_in_part(**options: Any) -> Scenario:
    """The platform makes what a call asks for one by one, and there is room for two of three: all or nothing all the same."""
    link = request("r-1", "r-1", "tcp/1", "tcp/2", "tcp/3")

    def start() -> World:
        world = two_accounts()
        world.all_rules, world.one_by_one = 2, True
        return world

    def end(world: World, _facts: Facts) -> None:
        redelivered(world, frozenset(), (link,))  # its second delivery may have died, whatever the first one said
        hold("I3", oracle.owned(world, POLICY) == {}, f"failed, and now {oracle.owned(world, POLICY)}")

    return Scenario("made in part", start, POLICY, ((link, link), (sweep_message(),)), end, **options)


def a_batch(**options: Any) -> Scenario:
    """Two messages in one delivery, and a third that is none: each is answered. An operator's drop is no rule of a link."""
    r1, r2 = request("r-1", "r-1", "tcp/1"), request("r-2", "r-2", "tcp/2")
    bodies = [json.dumps(asked).encode() for message in (r1, r2) for asked in requests_in(message)]
    both = Message("both", "cross_account", stream(bodies[0], b'{"request_id": "r-3", "version": 2}', bodies[1]))

    def start() -> World:
        world = two_accounts()
        world.hand_rule(RuleKey(DB, str(APP), "", Port("tcp", 1, 1)), policy="drop")
        return world

    def end(world: World, facts: Facts) -> None:
        redelivered(world, facts, (both,))
        found = sorted(key.port.low for key in oracle.owned(world, POLICY))
        hold("I13", found == [1, 2] or ("fault", "forbidden") in facts, f"both are asked for, and {found} stand")

    return Scenario("a batch", start, POLICY, ((both, both), (sweep_message(),)), end, **options)


def paused(**options: Any) -> Scenario:
    """Nothing is changed, whatever is asked."""
    still = msgspec.structs.replace(POLICY, paused=True)
    link, sync = request("r-1", "r-1"), request("s-1", "tag-0000000000000000", action="sync")

    def start() -> World:
        world = two_accounts(**{"link-peer": f"sg-db@{PEER}:tcp/3306"})
        deliver(world, request("r-0", "r-0", "udp/53"), POLICY)
        world.set_tag(DB, "link-accept", f"sg-app@{HOME}:tcp/3306")
        world.set_tag(APP, "link-managed.prod", "true")
        return world

    def end(world: World, _facts: Facts) -> None:
        hold("I1", len(oracle.owned(world, POLICY)) == 1, f"paused, and now {oracle.owned(world, POLICY)}")

    return Scenario("paused", start, still, ((link, sync), (sweep_message(),)), end, **options)


def late_duplicate(**options: Any) -> Scenario:
    """The same message comes again, after an unlink and long after its `expires_at`: nothing opens."""
    link, unlink = request("r-1", "r-1"), request("u-1", "u-1", action="unlink")
    late = msgspec.structs.replace(link, name="late", after=3901)

    def end(world: World, facts: Facts) -> None:
        if {("acked", "r-1"), ("acked", "u-1"), ("acked", "late")} <= facts:
            hold("I4", outcomes_of(facts, "late") == {("denied", "expired")}, f"a late duplicate: {facts}")
        swept(world)

    return Scenario("a late duplicate", two_accounts, POLICY, ((link,), (unlink,), (late,)), end, **options)


def consent_withdrawn(**options: Any) -> Scenario:
    """sg-db takes its consent back in the middle: after a sweep nothing stands."""
    link, other = request("r-1", "r-1"), request("r-2", "r-2", "tcp/3306")
    withdraw = Act("withdraw", lambda world: world.set_tag(DB, "link-accept", None))

    def end(world: World, facts: Facts) -> None:
        swept(world.copy())
        told = redelivered(world, facts, (link, other))
        hold("I1", oracle.owned(world, POLICY) == {}, f"withdrawn, and now {oracle.owned(world, POLICY)}")
        allowed = {("applied", "")}
        allowed |= {(outcome, why) for outcome in ("denied", "removed") for why in ("no-consent", "no-access")}
        for message in (link, other):
            hold("I4", outcomes_of(told, message.name) <= allowed, f"{told}")

    lanes = ((link, link), (withdraw,), (other, other), (sweep_message(),))
    return Scenario("consent withdrawn", two_accounts, POLICY, lanes, end, **options)


def consent_withdrawn_meanwhile(**options: Any) -> Scenario:
    """Both groups take their consent back while a throttled call waits for its minute: nothing is written any more."""
    link, sync = request("r-1", "r-1"), request("s-1", "tag-0000000000000000", action="sync")

    def start() -> World:
        return two_accounts(**{"link-peer": f"sg-db@{PEER}:tcp/3306"})

    def end(world: World, facts: Facts) -> None:
        redelivered(world, facts, (link, sync))
        withdrawn = ("fault", "withdrawn") in facts
        hold("I1", (not oracle.owned(world, POLICY)) == withdrawn, f"withdrawn: {withdrawn}, and now {world.rules}")

    lanes = ((link, link), (sync,))
    options = {"kinds": ("withdrawn", "kill-after"), **options}
    return Scenario("consent withdrawn meanwhile", start, POLICY, lanes, end, **options)


def half_deleted(**options: Any) -> Scenario:
    """A person deletes one side: a sweep, or a request that comes again, makes it whole."""
    link = request("r-1", "r-1")

    def delete(world: World) -> None:
        for rule in list(world.rules[DB].values()):
            world.hand_delete(DB, rule.id)

    def end(world: World, facts: Facts) -> None:
        swept(world.copy())
        redelivered(world, facts, (link,))
        found = oracle.owned(world, POLICY)
        if not {("fault", "forbidden"), ("fault", "stale")} & facts:
            hold("I3", found == dict.fromkeys(mutual_rules(), frozenset({"req:r-1"})), f"now {found}")

    lanes = ((link, link), (Act("delete one side", delete),), (sweep_message(), sweep_message()))
    return Scenario("half deleted", two_accounts, POLICY, lanes, end, **options)


def until(**options: Any) -> Scenario:
    """A request with an end, one without, and sweeps before and after that end: at last only the other's reason stands."""
    ending = request("r-1", "r-1", until=iso(START + 1800))
    lasting = request("r-2", "r-2")
    early, late = sweep_message(), msgspec.structs.replace(sweep_message(3000), name="late sweep")

    def end(world: World, facts: Facts) -> None:
        redelivered(world, facts, (lasting,))
        reset(world, 3000)
        quiet(world, late, POLICY)
        found = oracle.owned(world, POLICY)
        if not {("fault", "forbidden"), ("fault", "stale")} & facts:
            hold("I9", found == dict.fromkeys(mutual_rules(), frozenset({"req:r-2"})), f"now {found}")

    return Scenario("an end", two_accounts, POLICY, ((ending, early, late), (lasting, lasting)), end, **options)


def end_beside_a_tag(**options: Any) -> Scenario:
    """A tag and a request with an end want one link; at that end the cloud shows no instance: the tag's reason stays."""
    sync = request("s-1", "tag-0000000000000000", action="sync")
    ending = request("r-1", "r-1", "tcp/3306", until=iso(START + 1800))
    late = msgspec.structs.replace(sweep_message(3000), name="late sweep")

    def start() -> World:
        return two_accounts(**{"link-peer": f"sg-db@{PEER}:tcp/3306"})

    def end(world: World, facts: Facts) -> None:
        found = oracle.owned(world, POLICY)
        if ("acked", "s-1") in facts and not {
            ("fault", kind) for kind in ("empty", "forbidden", "stale", "short")
        } & facts:
            hold("I9", "tag" in found.get(RuleKey(DB, str(APP), "", TCP), ()), f"now {found}")
        swept(world)

    kinds = ("kill", "kill-after", "empty")
    lanes = ((sync, ending, late), (ending,))
    return Scenario("an end beside a tag, unseen", start, POLICY, lanes, end, **{"kinds": kinds, **options})


REQUESTS: list[Callable[..., Scenario]] = [
    two_requests,
    ports_and_mutual,
    overlapping_ports,
    link_and_unlink,
    tag_and_request,
    tag_and_unlink,
    hand_made,
    hand_made_refused,
    copied_marker,
    lambda **options: second_side_refuses(APP, **options),
    lambda **options: second_side_refuses(DB, **options),
    made_in_part,
    a_batch,
    paused,
    late_duplicate,
    consent_withdrawn,
    consent_withdrawn_meanwhile,
    half_deleted,
    until,
    end_beside_a_tag,
]
