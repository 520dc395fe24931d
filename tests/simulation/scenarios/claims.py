"""Several requests and tags that ask for the same link, unlinks, and requests that expire."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
from link_peer.domain.model import Port, RuleKey
from link_peer.domain.tags import iso

from tests.simulation import oracle
from tests.simulation.driver import deliver_without_faults, reset
from tests.simulation.explore import Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import Message, requests_in, stream, sweep_message
from tests.simulation.scenarios.common import (
    APP,
    DB,
    LATE_SWEEP,
    LINK,
    POLICY,
    PORT_LINK,
    R1,
    SYNC,
    TCP,
    TCP_RULE,
    UDP,
    UNLINK,
    UNTAG,
    had_fault,
    hold_rules,
    mutual_rules,
    outcomes_of,
    redeliver_and_check,
    request,
    sweep_and_check,
    two_accounts,
    two_accounts_and_a_tag,
)
from tests.simulation.world import START, World


def _both_applied(*messages: Message, expect: dict[RuleKey, str]) -> Callable[[World, Facts], None]:
    """A check that every message ends `applied`, and exactly the rules `expect` exist, with these claims."""

    def end(world: World, facts: Facts) -> None:
        not_redelivered = world.copy()  # as if all failed messages went to the dead-letter queue
        sweep_and_check(not_redelivered)
        ours = oracle.owned(not_redelivered, POLICY)
        # after a rollback, a stale read may still show the rules: docs/guarantees.md, limits
        rolled_back_unseen = {("fault", "forbidden"), ("fault", "stale")} <= facts
        for message in messages:
            if (message.name, "applied", "") in facts and not rolled_back_unseen:
                claim = f"req:{message.name}"
                keys = [key for key, claims in expect.items() if claim in claims]
                is_standing = all(claim in ours.get(key, ()) for key in keys)
                hold("I6", is_standing, f"{message.name} was applied, but the rules are {ours}")
        all_facts = redeliver_and_check(world, facts, messages)
        if had_fault(facts, "forbidden"):
            return
        for message in messages:
            outcomes = outcomes_of(all_facts, message.name)
            hold("I4", len(outcomes) == 1, f"{message.name} has several outcomes: {outcomes}")
            hold("I13", outcomes == {("applied", "")}, f"{message.name} was not applied: {outcomes}")
        owned_claims = oracle.owned(world, POLICY)
        expected = {key: frozenset(claims.split(",")) for key, claims in expect.items()}
        hold("I6", owned_claims == expected, f"expected rules {expected}, found {owned_claims}")

    return end


def two_requests() -> Scenario:
    """Two requests for one mutual link, each delivered twice."""
    r1, r2 = request("r-1", "r-1"), request("r-2", "r-2")
    expect = dict.fromkeys(mutual_rules(), "req:r-1,req:r-2")
    end = _both_applied(r1, r2, expect=expect)
    return Scenario("two requests, one link", two_accounts, POLICY, ((r1, r1), (r2, r2)), end)


def ports_and_mutual() -> Scenario:
    """A link of two ports and a mutual link between the same groups: they share no rule."""
    r1, r2 = request("r-1", "r-1", "tcp/3306", "udp/53"), request("r-2", "r-2")
    expect = {RuleKey(DB, str(APP), "", port): "req:r-1" for port in (TCP, UDP)}
    expect |= dict.fromkeys(mutual_rules(), "req:r-2")
    end = _both_applied(r1, r2, expect=expect)
    return Scenario("ports and mutual", two_accounts, POLICY, ((r1, r1), (r2, r2)), end)


def overlapping_ports() -> Scenario:
    """Two requests that have one port in common."""
    r1, r2 = request("r-1", "r-1", "tcp/3306", "udp/53"), request("r-2", "r-2", "tcp/3306", "icmp")
    expect = {
        TCP_RULE: "req:r-1,req:r-2",
        RuleKey(DB, str(APP), "", UDP): "req:r-1",
        RuleKey(DB, str(APP), "", Port("icmp")): "req:r-2",
    }
    end = _both_applied(r1, r2, expect=expect)
    return Scenario("overlapping ports", two_accounts, POLICY, ((r1, r1), (r2, r2)), end)


def link_and_unlink() -> Scenario:
    """Two requests for one link, and an unlink of both: in every order, both sides exist or neither."""
    r2 = request("r-2", "r-2")

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        all_facts = redeliver_and_check(world, facts, (LINK, r2))
        run = deliver_without_faults(world, UNLINK, POLICY)
        sweep_and_check(world)
        hold_rules("I6", world, {}, "rules exist after the unlink")
        outcomes = {r["outcome"] for r in run.watch.outcomes}
        hold("I4", outcomes <= {"removed", "unchanged"}, f"outcomes of the unlink: {run.watch.outcomes}")
        hold("I10", bool(all_facts), "no outcome was recorded")

    lanes = ((LINK, LINK), (r2,), (UNLINK, UNLINK))
    return Scenario("link and unlink", two_accounts, POLICY, lanes, end)


def tag_and_request() -> Scenario:
    """A tag and a request ask for one link; when the tag is removed, the request's rule stays."""

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        redeliver_and_check(world, facts, (SYNC, PORT_LINK))
        # a read that is older than another delivery's change can cost a claim: docs/guarantees.md, limits
        if not had_fault(facts, "forbidden", "stale"):
            hold_rules("I9", world, {TCP_RULE: R1}, "only the request's claim should exist")

    lanes = ((SYNC, UNTAG, SYNC), (PORT_LINK, PORT_LINK))
    return Scenario("tag and request", two_accounts_and_a_tag, POLICY, lanes, end)


def tag_and_unlink() -> Scenario:
    """An unlink removes the request's claim; the tag's claim stays, and so does the rule."""

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (SYNC, PORT_LINK))
        deliver_without_faults(world, UNLINK, POLICY)
        if not had_fault(facts, "stale"):
            hold_rules("I9", world, {TCP_RULE: frozenset({"tag"})}, "only the tag's claim should exist")

    lanes = ((SYNC, UNLINK), (PORT_LINK, PORT_LINK))
    return Scenario("tag and unlink", two_accounts_and_a_tag, POLICY, lanes, end)


def batch() -> Scenario:
    """One delivery with two requests and an invalid one between them: each is answered, despite a manual drop rule."""
    r1, r2 = request("r-1", "r-1", "tcp/1"), request("r-2", "r-2", "tcp/2")
    bodies = [json.dumps(body).encode() for message in (r1, r2) for body in requests_in(message)]
    batch_message = Message(
        "both", "cross_account", stream(bodies[0], b'{"request_id": "r-3", "version": 2}', bodies[1])
    )

    def start() -> World:
        world = two_accounts()
        world.add_manual_rule(RuleKey(DB, str(APP), "", Port("tcp", 1, 1)), policy="drop")
        return world

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (batch_message,))
        low_ports = sorted(key.port.low for key in oracle.owned(world, POLICY))
        complete = low_ports == [1, 2] or had_fault(facts, "forbidden")
        hold("I13", complete, f"ports 1 and 2 were requested, but rules exist for {low_ports}")

    return Scenario("a batch", start, POLICY, ((batch_message, batch_message), (sweep_message(),)), end)


def equal_messages() -> Scenario:
    """One delivery with a sync of a pair and a look at its group, each twice, and a link and an unlink between them:
    the equal ones are carried out once, and each is answered."""
    unlink = request("u-1", "u-1", "tcp/3306", action="unlink")
    (sync,), (link_request,), (unlink_request,) = requests_in(SYNC), requests_in(PORT_LINK), requests_in(unlink)
    look = {name: sync[name] for name in ("version", "region", "expires_at")} | {
        "action": "look",
        "party": sync["from"],
    }
    bodies = [
        {**sync, "request_id": "s-2"},
        {**look, "request_id": "look-1"},
        link_request,
        {**sync, "attempt": 2},
        unlink_request,
        {**look, "request_id": "look-2"},
    ]
    together = Message("together", "cross_account", stream(*(json.dumps(body).encode() for body in bodies)))

    def end(world: World, facts: Facts) -> None:
        late = bool(world.queue)  # the link may have been put back, and so come after the unlink
        redeliver_and_check(world, facts, (together,))
        if not late and not had_fault(facts, "forbidden", "stale"):
            hold_rules("I9", world, {TCP_RULE: frozenset({"tag"})}, "only the tag's claim should exist")

    lanes = ((together,), (sweep_message(),))
    return Scenario("equal messages", two_accounts_and_a_tag, POLICY, lanes, end)


def late_duplicate() -> Scenario:
    """A request is redelivered after an unlink, and after its `expires_at`: it is denied."""
    late = msgspec.structs.replace(LINK, name="late", after=3901)

    def end(world: World, facts: Facts) -> None:
        if {("acked", "r-1"), ("acked", "u-1"), ("acked", "late")} <= facts:
            outcomes = outcomes_of(facts, "late")
            hold("I4", outcomes == {("denied", "expired")}, f"outcomes of the late duplicate: {outcomes}")
        sweep_and_check(world)

    return Scenario("a late duplicate", two_accounts, POLICY, ((LINK,), (UNLINK,), (late,)), end)


def request_expires() -> Scenario:
    """A request with `until`, one without, and sweeps before and after that time: only the second claim remains."""
    temporary = request("r-1", "r-1", until=iso(START + 1800))
    permanent = request("r-2", "r-2")

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (permanent,))
        reset(world, 3000)
        deliver_without_faults(world, LATE_SWEEP, POLICY)
        if not had_fault(facts, "forbidden", "stale"):
            expected = dict.fromkeys(mutual_rules(), frozenset({"req:r-2"}))
            hold_rules("I9", world, expected, "only r-2's claim should exist")

    lanes = ((temporary, sweep_message(), LATE_SWEEP), (permanent, permanent))
    return Scenario("a request expires", two_accounts, POLICY, lanes, end)


def request_expires_beside_a_tag() -> Scenario:
    """A tag and a request with `until` ask for one link; when the request expires, reads show no instance: the tag's
    claim stays."""
    temporary = request("r-1", "r-1", "tcp/3306", until=iso(START + 1800))

    def end(world: World, facts: Facts) -> None:
        owned_claims = oracle.owned(world, POLICY)
        is_acked = ("acked", "s-1") in facts and not world.queue  # it may have been put back
        if is_acked and not had_fault(facts, "empty", "forbidden", "stale", "omit-one"):
            hold("I9", "tag" in owned_claims.get(TCP_RULE, ()), f"the tag's claim should exist: {owned_claims}")
        sweep_and_check(world)

    lanes = ((SYNC, temporary, LATE_SWEEP), (temporary,))
    return Scenario(
        "a request expires beside a tag",
        two_accounts_and_a_tag,
        POLICY,
        lanes,
        end,
        kinds=("kill", "kill-after", "empty"),
    )


CLAIMS = [
    two_requests(),
    ports_and_mutual(),
    overlapping_ports(),
    link_and_unlink(),
    tag_and_request(),
    tag_and_unlink(),
    batch(),
    equal_messages(),
    late_duplicate(),
    request_expires(),
    request_expires_beside_a_tag(),
]
