"""Wrong designs, each a small change of the production code's behaviour, and where each must be detected.

Each is put in at a seam: a port (the cloud, the audit log, the queue), a method of a class, or a function of a module.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.simulation.explore import explore
from tests.simulation.interleave import race
from tests.simulation.mutants import addresses, attacks, designs, sweeps
from tests.simulation.races import RACES
from tests.simulation.run import AT_ONCE
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.scenarios.queues import TROUBLE

KINDS = ("kill-after", "lost-after", "empty", "outage")
CALLS = 8
"""The faults used to find a wrong design, at this many first calls of each delivery."""


class Mutant(msgspec.Struct, frozen=True):
    """`hunt` is the name of the scenario or race that must break; where the scenario needs faults of its own, `kinds`."""

    name: str
    change: Callable[[pytest.MonkeyPatch], None]
    hunt: str
    kinds: tuple[str, ...] = KINDS


MUTANTS = [
    Mutant("no consent check", designs.no_consent_check, "consent withdrawn during a delivery", ("withdrawn",)),
    Mutant("no guardrail", designs.no_guardrail, "a guardrail", ()),
    Mutant("a guardrail of one direction", designs.guardrail_one_way, "a guardrail", ()),
    Mutant("only a tag puts into a set", designs.a_tag_proves_the_set, "a guardrail", ()),
    Mutant("consent is read once", designs.consent_read_once, "consent withdrawn during a delivery", ("withdrawn",)),
    Mutant("no look after a write", designs.no_look, "closed at any call", tuple(AT_ONCE)),
    Mutant("a look by old tags", designs.look_by_old_tags, "closed at any call", tuple(AT_ONCE)),
    Mutant("halves by their own group", designs.halves_by_their_own_group, "half closed at any call", tuple(AT_ONCE)),
    Mutant("compensate by tuple", designs.compensate_by_tuple, "a manual rule and a refusal", ()),
    Mutant("a rule is owned by the request", designs.rule_owned_by_the_request, "two requests, one link", ()),
    Mutant("fixed ClientToken", designs.fixed_client_token, "one side deleted", ()),
    Mutant("no read-back", designs.no_read_back, "two requests for one new link"),
    Mutant("errors are swallowed", designs.errors_swallowed, "two requests, one link"),
    Mutant("an empty read means gone", designs.empty_read_means_gone, "empty reads, sg-db:tcp/3306", ("empty",)),
    Mutant("the outcome before the change", designs.outcome_before_the_change, "two requests, one link", ()),
    Mutant("no intent", designs.no_intent, "two requests, one link", ()),
    Mutant("any marker is ours", designs.any_marker_is_ours, "a copied marker", ()),
    Mutant("every equal rule is ours", designs.own_every_equal_rule, "a manual rule", ()),
    Mutant("an event is a fact", designs.event_is_a_fact, "empty reads, i-store", ()),
    Mutant("a sweep forgets requests", designs.sweep_forgets_requests, "two requests, one link", ()),
    Mutant("unlimited removals", designs.unlimited_removals, "too many removals", ()),
    Mutant("one side is enough", designs.one_side_is_enough, "sg-app refuses", ()),
    Mutant("an unlink takes everything", designs.unlink_takes_everything, "tag and unlink", ()),
    Mutant(
        "one claim's end is every claim's", designs.one_requests_end_is_everybodys, "a request expires beside a tag", ()
    ),
    Mutant("the tag is checked once", designs.tag_checked_once, "a request, and sweep removes a tag's claim"),
    Mutant("old claims are written back", designs.old_claims_written_back, "a second request and an unlink"),
    Mutant("paused is not looked at", designs.paused_all_the_same, "paused", ()),
    Mutant("every deployment is ours", designs.every_deployment_is_ours, "a copied marker", ()),
    Mutant("one look is trusted", designs.one_look_is_trusted, "omitted once, sg-db:tcp/3306", ("omit-one",)),
    Mutant("refused is not made", designs.refused_is_not_made, "partial authorize", ()),
    Mutant("a batch is its first message", designs.first_of_a_batch, "a batch", ()),
    Mutant("never too late", designs.never_too_late, "a late duplicate", ()),
    Mutant("records may be lost", designs.records_may_be_lost, "a batch", ("log-down",)),
    Mutant("removals are counted once", designs.removals_counted_once, "too many removals", ()),
    Mutant("no end", designs.no_end, "a request expires", ()),
    Mutant("the message is the wish", designs.the_message_is_the_wish, "tag and unlink", ()),
    Mutant("the first group stands", designs.first_group_stands, "consent moves", ()),
    Mutant("a sync looks at one group", designs.one_group_of_a_sync, "consent moves", ()),
    Mutant("attempts are not recorded", designs.attempts_not_recorded, "a batch"),
    # tenants and tools
    Mutant("a sweep completes requests", attacks.sweep_completes_requests, "one side deleted", ()),
    Mutant("half a link stays for ever", attacks.half_open_for_ever, "one side deleted", ()),
    Mutant("all accounts share one cap", attacks.shared_cap, "removals of two accounts", ()),
    Mutant("one account has all turns", attacks.one_account_has_all_turns, "a flood", ()),
    Mutant("an id without home", attacks.id_without_home, "a second home", ()),
    Mutant("any group of a hidden account", attacks.any_group_of_a_hidden_account, "a hidden account", ()),
    Mutant("a hidden peer bars both sides", attacks.hidden_peer_bars_both, "a hidden peer", ()),
    Mutant("a hidden side asks", attacks.hidden_side_asks, "a hidden peer", ()),
    Mutant("a throttled peer is refused", attacks.throttled_is_refused, "a throttled peer", ()),
    Mutant("sides are closed in one piece", attacks.sides_in_one_piece, "a read-only side", ()),
    Mutant("openings first", attacks.openings_first, "a tag changes", ()),
    Mutant("a request id is used again", attacks.request_id_reused, "a request id used twice", ()),
    Mutant("an address is trusted", attacks.address_trusted, "borrowed addresses", ()),
    Mutant("an address is shared", attacks.address_shared, "borrowed addresses", ()),
    Mutant("a rule is taken from its instance", attacks.rule_taken, "borrowed addresses", ("stale", "empty")),
    Mutant("the managed tag is trusted", attacks.managed_tag_trusted, "stripped tags", ()),
    Mutant("a lock is ignored where the policy consents", attacks.lock_ignored, "a lock", ()),
    Mutant("consent never ends", attacks.consent_without_end, "consent ends", ()),
    Mutant("events of groups are ignored", attacks.events_of_groups_ignored, "events of a group", ()),
    Mutant("the groups before a move are not looked for", attacks.left_groups_ignored, "moved, group port", ()),
    Mutant("rules of an old address are the sweep's", attacks.old_addresses_ignored, "moved, target", ()),
    Mutant("an outcome names other rules", attacks.other_rules_in_the_record, "two requests, one link", ()),
    Mutant("an outcome names the whole group", attacks.whole_group_in_the_record, "a copied marker", ()),
    Mutant("an outcome mixes up ids", attacks.ids_mixed_up_in_the_record, "two requests, one link", ()),
    Mutant("an end is recorded as a repair", attacks.an_end_is_a_repair, "a request expires beside a tag", ()),
    # by address
    Mutant("an ended link is joined", addresses.ended_links_are_joined, "joining by address", ()),
    Mutant(
        "who joins is not looked at again", addresses.joined_for_good, "an instance joins by a sweep, and an unlink"
    ),
    Mutant("an unlink does not look again", addresses.unlinked_once, "an instance joins by a sweep, and an unlink"),
    Mutant("who left is admitted", addresses.once_a_member, "leaving by address", ()),
    Mutant("any group of an instance is accepted", addresses.any_group_of_the_instance, "consent by address", ()),
    Mutant("a link by address has no limit", addresses.no_limit, "a limit by address", ()),
    Mutant("a rule by address is shared", attacks.address_shared, "leaving by address", ()),
    Mutant("an address from anywhere", attacks.address_trusted, "borrowed by address", ()),
    # sweeps by account
    Mutant("what a part does not show is gone", sweeps.a_part_is_the_whole, "a listing, lock", ()),
    Mutant("a cursor skips", sweeps.a_cursor_skips, "a listing, lock", ()),
    Mutant("a cursor is trusted", sweeps.a_cursor_is_trusted, "a look, withdraw", ()),
    Mutant("one guard for all accounts", sweeps.one_guard_for_all, "removals of two accounts, each swept alone", ()),
    # transient errors
    Mutant("a message is not put back", attacks.put_back_dropped, "put back", TROUBLE),
    Mutant("a look is not posted", attacks.looks_dropped, "trouble during events", TROUBLE),
    Mutant("an attempt is not counted", attacks.attempt_not_counted, "put back", TROUBLE),
    Mutant("a message is put back at once", attacks.put_back_at_once, "put back", TROUBLE),
    Mutant("a message changes its queue", attacks.put_back_on_the_shared_queue, "a bound queue", ("throttle",)),
    Mutant("the queue proves nothing", attacks.queue_ignored, "a bound queue", ()),
    Mutant("the policy is read once", attacks.policy_read_once, "a change during a delivery", ("policy", "paused")),
    Mutant("expiry is checked once", attacks.expiry_checked_once, "expiry during a delivery", ("slow",)),
]


def hunt(name: str, kinds: tuple[str, ...]) -> None:
    """Tries a scenario, its histories without faults first, or a race with up to two switches. Raises Broken."""
    if name in RACES:
        race(RACES[name], 2)
        return
    explore(SCENARIOS[name], faults=0)
    explore(SCENARIOS[name], kinds=kinds, calls=CALLS)
