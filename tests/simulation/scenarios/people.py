"""What people do meanwhile: manual rules, deleted rules, withdrawn consent, a paused policy; and groups that refuse rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from link_peer.domain.model import Party, Port, RuleKey
from link_peer.domain.policy import Pause

from tests.simulation import oracle
from tests.simulation.driver import deliver, deliver_without_faults
from tests.simulation.explore import Act, Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import sweep_message
from tests.simulation.scenarios.common import (
    APP,
    DB,
    POLICY,
    SYNC,
    UDP,
    had_fault,
    half_an_hour_later,
    mutual_rules,
    outcomes_of,
    redeliver_and_check,
    request,
    sweep_and_check,
    two_accounts,
    two_accounts_and_a_tag,
)
from tests.simulation.world import HOME, World


def _with_manual_rule() -> World:
    """A person has added a rule that equals one side of the mutual link."""
    world = two_accounts()
    world.add_manual_rule(mutual_rules()[0], "before link-peer", priority=50)
    return world


def _refusing(world: World, side: Party) -> World:
    """The world, where this group refuses new rules, which only the change itself shows."""
    world.full.add(side)
    return world


def manual_rule(**options: Any) -> Scenario:
    """A manual rule that equals one side of the link counts as present, and is never removed (I2)."""
    link, unlink = request("r-1", "r-1"), request("u-1", "u-1", action="unlink")

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        redeliver_and_check(world, facts, (link,))
        deliver_without_faults(world, unlink, POLICY)
        sweep_and_check(world)
        present = oracle.present(world)
        hold("I2", present == {mutual_rules()[0]}, f"only the manual rule should exist: {present}")

    return Scenario("a manual rule", _with_manual_rule, POLICY, ((link, link), (unlink,)), end, **options)


def manual_rule_and_refusal(**options: Any) -> Scenario:
    """sg-db has a manual rule, and sg-app refuses new rules: the rollback leaves the manual rule (I2)."""
    link = request("r-1", "r-1")

    def start() -> World:
        return _refusing(_with_manual_rule(), APP)

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        redeliver_and_check(world, facts, (link,))
        present = oracle.present(world)
        hold("I2", present == {mutual_rules()[0]}, f"only the manual rule should exist: {present}")

    lanes = ((link, link), (sweep_message(),))
    return Scenario("a manual rule and a refusal", start, POLICY, lanes, end, **options)


def copied_marker(**options: Any) -> Scenario:
    """Someone copies our description to a manual rule of another port, and another deployment has a rule on the group:
    neither is ours (I2)."""
    link, unlink = request("r-1", "r-1", "tcp/3306"), request("u-1", "u-1", action="unlink")

    def copy(world: World) -> None:
        for rule in list(world.rules[DB].values()):
            world.add_manual_rule(RuleKey(DB, str(APP), "", UDP), rule.description, priority=100)
        other = RuleKey(DB, str(APP), "", Port("tcp", 1, 1))
        other_policy = msgspec.structs.replace(POLICY, deployment="other")
        world.add_manual_rule(other, oracle.marker(other, other_policy, "tag"), priority=100)

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (link,))
        deliver_without_faults(world, unlink, POLICY)
        sweep_and_check(world)
        present = oracle.present(world)
        hold("I2", len(present) == len(world.manual_rules), f"only the manual rules should exist: {present}")

    lanes = ((link, Act("copy the description", copy), sweep_message()), (unlink,))
    return Scenario("a copied marker", two_accounts, POLICY, lanes, end, **options)


def one_side_deleted(**options: Any) -> Scenario:
    """Someone deletes one side of a link: the same request again repairs it, while a sweep opens nothing for a request, and
    removes the other side after half an hour."""
    link = request("r-1", "r-1")

    def delete(world: World) -> None:
        for rule in list(world.rules[DB].values()):
            world.delete_manually(DB, rule.id)

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        redeliver_and_check(world, facts, (link,))
        deliver_without_faults(world, link, POLICY)
        sweep_and_check(world)
        found = oracle.owned(world, POLICY)
        expected = dict.fromkeys(mutual_rules(), frozenset({"req:r-1"}))
        hold("I13", found == expected, f"both sides should exist: {found}")

    lanes = ((link, link), (Act("delete one side", delete),), (sweep_message(), sweep_message()))
    return Scenario("one side deleted", two_accounts, POLICY, lanes, end, **options)


def consent_withdrawn(**options: Any) -> Scenario:
    """sg-db withdraws its consent between deliveries: after a sweep no rule exists."""
    mutual, port = request("r-1", "r-1"), request("r-2", "r-2", "tcp/3306")
    withdraw = Act("withdraw", lambda world: world.set_tag(DB, "link-accept", None))

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        all_facts = redeliver_and_check(world, facts, (mutual, port))
        ours = oracle.owned(world, POLICY)
        hold("I1", ours == {}, f"rules exist though consent was withdrawn: {ours}")
        possible = {("applied", "")}
        possible |= {(outcome, reason) for outcome in ("denied", "removed") for reason in ("no-consent", "no-access")}
        for message in (mutual, port):
            outcomes = outcomes_of(all_facts, message.name)
            if had_fault(facts, "forbidden"):  # a rule that cannot be removed gets the managed tag
                outcomes -= {("unchanged", "")}
            hold("I4", outcomes <= possible, f"outcomes of {message.name}: {outcomes}")

    lanes = ((mutual, mutual), (withdraw,), (port, port), (sweep_message(),))
    return Scenario("consent withdrawn", two_accounts, POLICY, lanes, end, **options)


def consent_withdrawn_during_a_delivery(**options: Any) -> Scenario:
    """Both groups withdraw consent while a throttled call waits for the next minute: no rule is written after that."""
    link = request("r-1", "r-1")

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (link, SYNC))
        withdrawn = had_fault(facts, "withdrawn")
        without_rules = not oracle.owned(world, POLICY)
        hold("I1", without_rules == withdrawn, f"consent withdrawn: {withdrawn}, but the rules are {world.rules}")

    lanes = ((link, link), (SYNC,))
    options = {"kinds": ("withdrawn", "kill-after"), **options}
    return Scenario("consent withdrawn during a delivery", two_accounts_and_a_tag, POLICY, lanes, end, **options)


def paused(**options: Any) -> Scenario:
    """While paused nothing is changed, whatever tags, requests and consent say."""
    paused_policy = msgspec.structs.replace(POLICY, paused=Pause.ALL)
    link = request("r-1", "r-1")

    def start() -> World:
        world = two_accounts_and_a_tag()
        deliver(world, request("r-0", "r-0", "udp/53"), POLICY)
        world.set_tag(DB, "link-accept", f"sg-app@{HOME}:tcp/3306")
        world.set_tag(APP, oracle.managed_tag(POLICY), "true")
        return world

    def end(world: World, _facts: Facts) -> None:
        ours = oracle.owned(world, POLICY)
        hold("I1", len(ours) == 1, f"one rule existed before the pause, now {ours}")

    return Scenario("paused", start, paused_policy, ((link, SYNC), (sweep_message(),)), end, **options)


def one_side_refuses(side: Party, **options: Any) -> Scenario:
    """One group refuses new rules, which only the change itself shows: neither side gets a rule."""
    r1, r2 = request("r-1", "r-1"), request("r-2", "r-2")

    def start() -> World:
        return _refusing(two_accounts(), side)

    def end(world: World, facts: Facts) -> None:
        not_redelivered = world.copy()
        not_redelivered.queue.clear()
        sweep_and_check(not_redelivered)
        ours = oracle.owned(half_an_hour_later(not_redelivered), POLICY)
        hold("I3", ours == {}, f"rules exist after a sweep, though {side} refuses: {ours}")
        all_facts = redeliver_and_check(world, facts, (r1, r2))
        ours = oracle.owned(half_an_hour_later(world), POLICY)
        hold("I3", ours == {}, f"rules exist after redelivery, though {side} refuses: {ours}")
        for message in (r1, r2):
            outcomes = outcomes_of(all_facts, message.name) - {("denied", "no-access"), ("removed", "no-access")}
            hold("I4", outcomes <= {("failed", "quota"), ("removed", "quota")}, f"{message.name} ended {outcomes}")

    return Scenario(f"{side.id} refuses", start, POLICY, ((r1, r1), (r2, r2)), end, **options)


def partial_authorize(**options: Any) -> Scenario:
    """An Authorize call for three rules makes two and refuses the third: in the end there are none."""
    link = request("r-1", "r-1", "tcp/1", "tcp/2", "tcp/3")

    def start() -> World:
        world = two_accounts()
        world.all_rules, world.partial_authorize = 2, True
        return world

    def end(world: World, _facts: Facts) -> None:
        # redelivered although acknowledged: its second delivery may have been killed halfway
        redeliver_and_check(world, frozenset(), (link,))
        ours = oracle.owned(world, POLICY)
        hold("I3", ours == {}, f"rules exist though the request failed: {ours}")

    return Scenario("partial authorize", start, POLICY, ((link, link), (sweep_message(),)), end, **options)


PEOPLE: list[Callable[..., Scenario]] = [
    manual_rule,
    manual_rule_and_refusal,
    copied_marker,
    one_side_deleted,
    consent_withdrawn,
    consent_withdrawn_during_a_delivery,
    paused,
    lambda **options: one_side_refuses(APP, **options),
    lambda **options: one_side_refuses(DB, **options),
    partial_authorize,
]
