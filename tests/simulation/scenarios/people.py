"""What people do meanwhile: manual rules, deleted rules, withdrawn consent, a paused policy; and groups that refuse
rules."""

from __future__ import annotations

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
    LINK,
    POLICY,
    PORT_LINK,
    R1,
    SYNC,
    UDP,
    UNLINK,
    WITHDRAW,
    had_fault,
    half_an_hour_later,
    hold_rules,
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


def manual_rule() -> Scenario:
    """A manual rule that equals one side of the link counts as present, and is never removed (I2)."""

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        redeliver_and_check(world, facts, (LINK,))
        deliver_without_faults(world, UNLINK, POLICY)
        sweep_and_check(world)
        present = oracle.present(world)
        hold("I2", present == {mutual_rules()[0]}, f"only the manual rule should exist: {present}")

    return Scenario("a manual rule", _with_manual_rule, POLICY, ((LINK, LINK), (UNLINK,)), end)


def manual_rule_and_refusal() -> Scenario:
    """sg-db has a manual rule, and sg-app refuses new rules: the rollback leaves the manual rule (I2)."""

    def start() -> World:
        return _refusing(_with_manual_rule(), APP)

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        redeliver_and_check(world, facts, (LINK,))
        present = oracle.present(world)
        hold("I2", present == {mutual_rules()[0]}, f"only the manual rule should exist: {present}")

    lanes = ((LINK, LINK), (sweep_message(),))
    return Scenario("a manual rule and a refusal", start, POLICY, lanes, end)


def copied_marker() -> Scenario:
    """Someone copies our description to a manual rule of another port, and another deployment has a rule on the group:
    neither is ours (I2)."""

    def copy(world: World) -> None:
        for rule in list(world.rules[DB].values()):
            world.add_manual_rule(RuleKey(DB, str(APP), "", UDP), rule.description, priority=100)
        other_rule_key = RuleKey(DB, str(APP), "", Port("tcp", 1, 1))
        other_policy = msgspec.structs.replace(POLICY, deployment="other")
        world.add_manual_rule(other_rule_key, oracle.marker(other_rule_key, other_policy, "tag"), priority=100)

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (PORT_LINK,))
        deliver_without_faults(world, UNLINK, POLICY)
        sweep_and_check(world)
        present = oracle.present(world)
        hold("I2", len(present) == len(world.manual_rules), f"only the manual rules should exist: {present}")

    lanes = ((PORT_LINK, Act("copy the description", copy), sweep_message()), (UNLINK,))
    return Scenario("a copied marker", two_accounts, POLICY, lanes, end)


def one_side_deleted() -> Scenario:
    """Someone deletes one side of a link: the same request again repairs it, while a sweep opens nothing for a request,
    and removes the other side after half an hour."""

    def delete(world: World) -> None:
        for rule in list(world.rules[DB].values()):
            world.delete_manually(DB, rule.id)

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        redeliver_and_check(world, facts, (LINK,))
        deliver_without_faults(world, LINK, POLICY)
        sweep_and_check(world)
        hold_rules("I13", world, dict.fromkeys(mutual_rules(), R1), "both sides should exist")

    lanes = ((LINK, LINK), (Act("delete one side", delete),), (sweep_message(), sweep_message()))
    return Scenario("one side deleted", two_accounts, POLICY, lanes, end)


def consent_withdrawn() -> Scenario:
    """sg-db withdraws its consent between deliveries: after a sweep no rule exists."""
    port = request("r-2", "r-2", "tcp/3306")

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        all_facts = redeliver_and_check(world, facts, (LINK, port))
        hold_rules("I1", world, {}, "rules exist though consent was withdrawn")
        possible = {("applied", "")}
        possible |= {(outcome, reason) for outcome in ("denied", "removed") for reason in ("no-consent", "no-access")}
        for message in (LINK, port):
            outcomes = outcomes_of(all_facts, message.name)
            if had_fault(facts, "forbidden"):  # a rule that cannot be removed gets the managed tag
                outcomes -= {("unchanged", "")}
            hold("I4", outcomes <= possible, f"outcomes of {message.name}: {outcomes}")

    lanes = ((LINK, LINK), (WITHDRAW,), (port, port), (sweep_message(),))
    return Scenario("consent withdrawn", two_accounts, POLICY, lanes, end)


def paused() -> Scenario:
    """While paused nothing is changed, whatever tags, requests and consent say."""
    paused_policy = msgspec.structs.replace(POLICY, paused=Pause.ALL)

    def start() -> World:
        world = two_accounts_and_a_tag()
        deliver(world, request("r-0", "r-0", "udp/53"), POLICY)
        world.set_tag(DB, "link-accept", f"sg-app@{HOME}:tcp/3306")
        world.set_tag(APP, oracle.managed_tag(POLICY), "true")
        return world

    def end(world: World, _facts: Facts) -> None:
        ours = oracle.owned(world, POLICY)
        hold("I1", len(ours) == 1, f"one rule existed before the pause, now {ours}")

    return Scenario("paused", start, paused_policy, ((LINK, SYNC), (sweep_message(),)), end)


def one_side_refuses(side: Party) -> Scenario:
    """One group refuses new rules, which only the change itself shows: neither side gets a rule."""
    r2 = request("r-2", "r-2")

    def start() -> World:
        return _refusing(two_accounts(), side)

    def end(world: World, facts: Facts) -> None:
        not_redelivered = world.copy()
        not_redelivered.queue.clear()
        sweep_and_check(not_redelivered)
        hold_rules("I3", half_an_hour_later(not_redelivered), {}, f"rules exist after a sweep, though {side} refuses")
        all_facts = redeliver_and_check(world, facts, (LINK, r2))
        hold_rules("I3", half_an_hour_later(world), {}, f"rules exist after redelivery, though {side} refuses")
        for message in (LINK, r2):
            outcomes = outcomes_of(all_facts, message.name) - {("denied", "no-access"), ("removed", "no-access")}
            hold("I4", outcomes <= {("failed", "quota"), ("removed", "quota")}, f"{message.name} ended {outcomes}")

    return Scenario(f"{side.id} refuses", start, POLICY, ((LINK, LINK), (r2, r2)), end)


def partial_authorize() -> Scenario:
    """An Authorize call for three rules makes two and refuses the third: the delivery takes them back. Where it dies
    before, they cannot be told from those of a smaller request, and stay until an unlink."""
    link = request("r-1", "r-1", "tcp/1", "tcp/2", "tcp/3")

    def start() -> World:
        world = two_accounts()
        world.all_rules, world.partial_authorize = 2, True
        return world

    def end(world: World, facts: Facts) -> None:
        undisturbed = start()
        for each in (undisturbed, world):
            redeliver_and_check(each, facts if each is world else frozenset(), (link,))
        hold_rules("I3", undisturbed, {}, "rules exist though the request failed")
        deliver_without_faults(world, UNLINK, POLICY)
        sweep_and_check(world)
        hold_rules("I3", world, {}, "rules exist after an unlink")

    return Scenario("partial authorize", start, POLICY, ((link, link), (sweep_message(),)), end)


PEOPLE = [
    manual_rule(),
    manual_rule_and_refusal(),
    copied_marker(),
    one_side_deleted(),
    consent_withdrawn(),
    paused(),
    one_side_refuses(APP),
    one_side_refuses(DB),
    partial_authorize(),
]
