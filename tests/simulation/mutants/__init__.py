"""Wrong designs, each a small change of the production code's behaviour, and where each must be detected.

Each is put in at a seam: a port (the cloud, the audit log, the queue), a method of a class, or a function of a module.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from link_peer.app import dispatch
from link_peer.domain.model import TAG
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.scopes import accounts, closing, pair, sweep
from link_peer.engine.scopes.account_reads import AccountReads
from link_peer.engine.scopes.instances import InstanceScope
from link_peer.engine.scopes.pair import PairScope
from link_peer.engine.write import apply, settle
from link_peer.engine.write.apply import Applier
from link_peer.engine.write.removal_guard import HoldingGuard, LookGuard, RemovalGuard
from link_peer.engine.write.settle import Settler
from link_peer.planning import claims, consent, guardrails, removals
from link_peer.planning import cursor as cursors
from link_peer.planning.actual import link_of
from link_peer.planning.claims import Choice
from link_peer.planning.decision import Context, DesiredLink
from link_peer.planning.verdict import answers, holders, single_link
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery

from tests.simulation.explore import explore
from tests.simulation.interleave import race
from tests.simulation.mutants import attacks, designs, ends
from tests.simulation.races import RACES
from tests.simulation.run import AT_ONCE
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.scenarios.queues import TROUBLE

KINDS = ("kill-after", "lost-after", "empty", "outage")
CALLS = 8
"""The faults used to find a wrong design, at this many first calls of each delivery."""


class Mutant(msgspec.Struct, frozen=True):
    """`hunt` is the name of the scenario or race that must break; where it needs faults, `kinds`."""

    name: str
    change: Callable[[pytest.MonkeyPatch], None]
    hunt: str
    kinds: tuple[str, ...] = ()


def swap(where: object, name: str, new: object) -> Callable[[pytest.MonkeyPatch], None]:
    """A design that differs in one function, or one number."""
    return lambda patch: patch.setattr(where, name, new)


MUTANTS = [
    Mutant(
        "no consent check",
        swap(consent, "consents", lambda *_args: (["nobody was asked"], [])),
        "consent withdrawn during a delivery",
        ("withdrawn",),
    ),
    Mutant("no guardrail", swap(guardrails, "never_denial", lambda *_args: None), "a guardrail"),
    Mutant("a guardrail of one direction", designs.guardrail_one_way, "a guardrail"),
    Mutant(
        "a group without the key is not in the set",
        swap(guardrails, "_none_differs", lambda tags, expected: expected.items() <= tags.items()),
        "a guardrail",
    ),
    Mutant(
        "consent is read once",
        swap(apply, "CONSENT_SECONDS", float("inf")),
        "consent withdrawn during a delivery",
        ("withdrawn",),
    ),
    Mutant("no look after a write", designs.no_look, "closed at any call", tuple(AT_ONCE)),
    Mutant(
        "what was written is judged by the tags of the plan",
        swap(Settler, "read_with_tags", lambda self, group, *_beside: self.read(group)),
        "closed at any call",
        tuple(AT_ONCE),
    ),
    Mutant(
        "a half is judged by its own group alone",
        swap(closing, "_sides", lambda key, marker: [(key, link_of(key, marker))]),
        "half closed at any call",
        tuple(AT_ONCE),
    ),
    Mutant("compensate by tuple", designs.compensate_by_tuple, "a manual rule and a refusal"),
    Mutant(
        "the last request's claim replaces the others'",
        swap(settle, "claims_after", lambda edit, old: edit.gain or frozenset(old) - edit.lose),
        "two requests, one link",
    ),
    Mutant("fixed ClientToken", designs.fixed_client_token, "one side deleted"),
    Mutant("no read-back", designs.no_read_back, "two requests for one new link", KINDS),
    Mutant("errors are swallowed", designs.errors_swallowed, "two requests, one link", KINDS),
    Mutant("an empty read means gone", designs.empty_read_means_gone, "empty reads, sg-db:tcp/3306", ("empty",)),
    Mutant("the outcome before the change", designs.outcome_before_the_change, "two requests, one link"),
    Mutant("no intent", designs.no_intent, "two requests, one link"),
    Mutant("any marker is ours", designs.any_marker_is_ours, "a copied marker"),
    Mutant("every equal rule is ours", designs.own_every_equal_rule, "a manual rule"),
    Mutant("an event is a fact", designs.event_is_a_fact, "empty reads, i-store"),
    Mutant("a sweep forgets requests", designs.sweep_forgets_requests, "two requests, one link"),
    Mutant("unlimited removals", swap(RemovalGuard, "excess", lambda *_args: set()), "too many removals"),
    Mutant("one side is enough", designs.one_side_is_enough, "sg-app refuses"),
    Mutant("an unlink takes everything", designs.unlink_takes_everything, "tag and unlink"),
    Mutant(
        "one claim's end is every claim's", designs.one_requests_end_is_everybodys, "a request expires beside a tag"
    ),
    Mutant(
        "the managed tag is read before the write alone",
        swap(Settler, "_tag_reads", lambda *_args: []),
        "a request, and sweep removes a tag's claim",
        KINDS,
    ),
    Mutant("old claims are written back", designs.old_claims_written_back, "a second request and an unlink", KINDS),
    Mutant("paused is not looked at", swap(apply, "paused", lambda decision, _pause: decision), "paused"),
    Mutant("every deployment is ours", designs.every_deployment_is_ours, "a copied marker"),
    Mutant(
        "what one read leaves out is gone",
        swap(Fetch, "confirm_absent", lambda *_args: None),
        "omitted once, sg-db:tcp/3306",
        ("omit-one",),
    ),
    Mutant(
        "a refused call has made nothing", swap(Settler, "read_after_refusal", lambda *_args: None), "partial authorize"
    ),
    Mutant("a batch is its first message", designs.first_of_a_batch, "a batch"),
    Mutant("never too late", designs.never_too_late, "a late duplicate"),
    Mutant("records may be lost", designs.records_may_be_lost, "a batch", ("log-down",)),
    Mutant("removals are counted once", designs.removals_counted_once, "too many removals"),
    Mutant("a claim's end is not checked", swap(Context, "expired", lambda *_args: False), "a request expires"),
    Mutant(
        "a sync is trusted, and no tag is read",
        swap(PairScope, "desired", lambda self, _snapshot: [DesiredLink(self.link, TAG)]),
        "tag and unlink",
    ),
    Mutant(
        "the first group stands, whatever the peer accepts",
        swap(claims, "choose", lambda links, _judge: Choice(links[0])),
        "consent moves",
    ),
    Mutant(
        "a sync looks at one group",
        swap(pair, "sources_of", lambda _snapshot, _wishes, pair: frozenset({pair.source})),
        "consent moves",
    ),
    Mutant("attempts are not recorded", swap(AuditWriter, "attempts", lambda *_args: True), "a batch", KINDS),
    # tenants and tools
    Mutant("a sweep completes requests", attacks.sweep_completes_requests, "one side deleted"),
    Mutant(
        "half of a request's link stays for ever", swap(removals, "HALF_OPEN_SECONDS", float("inf")), "one side deleted"
    ),
    Mutant("all accounts share one cap", attacks.shared_cap, "removals of two accounts"),
    Mutant("one account has all turns", attacks.one_account_has_all_turns, "a flood"),
    Mutant("an id without home", attacks.id_without_home, "a second home"),
    Mutant("any group of a hidden account", attacks.any_group_of_a_hidden_account, "a hidden account"),
    Mutant("a hidden peer bars both sides", attacks.hidden_peer_bars_both, "a hidden peer"),
    Mutant("a hidden side asks", swap(removals, "_nobody_asks", lambda *_args: False), "a hidden peer"),
    Mutant("a throttled peer is refused", attacks.throttled_is_refused, "a throttled peer"),
    Mutant(
        "a side that refuses keeps the other open",
        swap(apply, "only_closes", lambda _decision: False),
        "a read-only side",
    ),
    Mutant("openings first", attacks.openings_first, "a tag changes"),
    Mutant(
        "a request id that stands on other rules is used again",
        swap(PairScope, "_id_in_use", lambda _self: None),
        "a request id used twice",
    ),
    Mutant(
        "an instance's owner may choose any address",
        swap(single_link, "_with_safe_addresses", lambda _snapshot, _policy, verdict, _sides: verdict),
        "borrowed addresses",
    ),
    Mutant(
        "two instances with one address share a rule",
        swap(holders, "_other_holder", lambda *_args: None),
        "borrowed addresses",
    ),
    Mutant("a rule is taken from its instance", attacks.rule_taken, "borrowed addresses", ("stale", "empty")),
    Mutant(
        "a group without the managed tag is never looked at",
        swap(AccountReads, "untagged_share", lambda *_args: []),
        "stripped tags",
    ),
    Mutant("a lock is ignored where the policy consents", attacks.lock_ignored, "a lock"),
    Mutant("a refusal is ignored where the policy consents", attacks.refusal_ignored, "a refusal"),
    Mutant("only the group of the rule refuses", attacks.refusal_one_way, "a refusal"),
    Mutant("an unreadable refusal refuses nobody", attacks.unreadable_refusal, "an unreadable refusal"),
    Mutant("consent never ends", attacks.consent_without_end, "consent ends"),
    Mutant("the pages that were read count as the group", designs.pages_are_the_group, "a large group, sg-db:tcp/3306"),
    Mutant("events of groups are ignored", swap(dispatch, "reconcile_group", lambda *_args: []), "events of a group"),
    Mutant(
        "the groups before a move are not looked for",
        swap(InstanceScope, "_find_left_groups", lambda *_: None),
        "moved, group port",
    ),
    Mutant(
        "rules of an old address are the sweep's",
        swap(InstanceScope, "_groups_with_instance_rules", lambda *_: []),
        "moved, target",
    ),
    Mutant("an outcome names other rules", attacks.other_rules_in_the_record, "two requests, one link"),
    Mutant("an outcome names the whole group", attacks.whole_group_in_the_record, "a copied marker"),
    Mutant("an outcome mixes up ids", attacks.ids_mixed_up_in_the_record, "two requests, one link"),
    Mutant("an end is recorded as a repair", attacks.an_end_is_a_repair, "a request expires beside a tag"),
    # by address
    Mutant("an ended link is joined", attacks.ended_links_are_joined, "joining by address"),
    Mutant(
        "whether the joined link still stands is not looked at",
        swap(closing, "ended_meanwhile", lambda *_args: frozenset()),
        "an instance joins by a sweep, and an unlink",
        KINDS,
    ),
    Mutant(
        "an unlink does not look at who has joined meanwhile",
        swap(PairScope, "joined_meanwhile", lambda _self: False),
        "an instance joins by a sweep, and an unlink",
        KINDS,
    ),
    Mutant("who left is admitted", attacks.once_a_member, "leaving by address"),
    Mutant("any group of an instance is accepted", attacks.any_group_of_the_instance, "consent by address"),
    Mutant("a link by address has no limit", swap(answers, "most_members", lambda *_args: 1_000), "a limit by address"),
    Mutant("a rule by address is shared", swap(holders, "_other_holder", lambda *_args: None), "leaving by address"),
    Mutant(
        "an address from anywhere",
        swap(single_link, "_with_safe_addresses", lambda _snapshot, _policy, verdict, _sides: verdict),
        "borrowed by address",
    ),
    # both ends
    Mutant("nobody asks who lets out", ends.egress_without_consent, "egress consent ends"),
    Mutant("one end is enough for an advanced group", ends.ingress_alone, "egress consent ends"),
    Mutant("egress outlives ingress", ends.egress_outlives_ingress, "ingress consent ends at both ends"),
    Mutant("egress stays at an old address", ends.egress_of_an_old_address, "a target moves"),
    Mutant("egress outlives its consent", ends.egress_after_its_consent, "egress consent ends"),
    Mutant("a target that left is let out to", ends.egress_of_who_left, "a target leaves"),
    Mutant("basic groups have egress rules", ends.egress_of_basic_groups, "a basic source"),
    Mutant("any address is let out to", ends.any_address_is_let_out_to, "a target has an address of nobody's"),
    Mutant("a target joins an ended link", ends.targets_join_ended_links, "half of both ends"),
    Mutant("half of both ends stays", ends.half_of_both_ends_stays, "half of both ends"),
    Mutant("a refusal is consent", ends.refusal_is_consent, "a refusal is no consent"),
    Mutant("a lock at one end closes that end", ends.lock_of_one_end, "the source of both ends is locked"),
    Mutant("a refusal is looked at when a link is opened", ends.refusal_of_openings, "the source of both ends refuses"),
    # what stands
    Mutant("what stands is kept without consent", ends.kept_without_consent, "kept, consent ends"),
    Mutant("what stands is kept across a lock", ends.kept_across_a_lock, "kept, locked"),
    Mutant("a denial closes", ends.a_denial_closes, "a port more, basic groups"),
    Mutant("a lower limit closes", ends.limits_close, "a lower limit"),
    Mutant(
        "former addresses are closed first",
        ends.former_addresses_close_first,
        "requests move, instances",
        ("kill-after",),
    ),
    Mutant("a full group closes", ends.a_full_group_closes, "full for more, basic groups"),
    # sweeps by account
    Mutant("what a part does not show is gone", attacks.a_part_is_the_whole, "a listing, lock"),
    Mutant("a cursor skips", attacks.a_cursor_skips, "a listing, lock"),
    Mutant(
        "groups that a cursor knew are never read again",
        swap(
            cursors, "due", lambda cursor, numbers, *_now: set(numbers) - {bucket.number for bucket in cursor.buckets}
        ),
        "a look, withdraw",
    ),
    Mutant("a look believes its own account alone", swap(cursors, "changed", lambda *_args: set()), "a look, refuse"),
    Mutant(
        "a look waits for the full sweep with what is not shown",
        swap(sweep, "_guard", lambda swept: HoldingGuard(swept.guard.limit)),
        "a look, address",
    ),
    Mutant(
        "what one list of a look leaves out is gone",
        attacks.absent_from_a_list,
        "a look, left out",
        ("omit-one",),
    ),
    Mutant(
        "a look does not count what it removes", swap(LookGuard, "excess", lambda *_args: set()), "a look, too many"
    ),
    Mutant("each look counts anew", swap(LookGuard, "removals", {}), "a look, too many"),
    Mutant(
        "a sweep always lists the first account first", swap(accounts, "run_of", lambda _now: 0), "two slow listings"
    ),
    Mutant(
        "only the first 100 instances of a group are read",
        designs.first_hundred_of_a_group,
        "a large group",
    ),
    Mutant("one guard for all accounts", attacks.one_guard_for_all, "removals of two accounts, each swept alone"),
    # transient errors
    Mutant(
        "a message that met trouble is forgotten", swap(dispatch, "_put_back", lambda *_args: None), "put back", TROUBLE
    ),
    Mutant(
        "an event that met trouble is forgotten",
        swap(dispatch, "_post_looks", lambda *_args: None),
        "trouble during events",
        TROUBLE,
    ),
    Mutant("an attempt is not counted", attacks.attempt_not_counted, "put back", TROUBLE),
    Mutant("a message is put back at once", attacks.put_back_at_once, "put back", TROUBLE),
    Mutant("a message changes its queue", attacks.put_back_on_the_shared_queue, "a bound queue", ("throttle",)),
    Mutant("the queue proves nothing", swap(pair, "request_denial", lambda *_args: None), "a bound queue"),
    Mutant(
        "the policy is read once",
        swap(Delivery, "current_policy", lambda self: self.policy),
        "a change during a delivery",
        ("policy", "paused"),
    ),
    Mutant(
        "expires_at is checked once, on arrival",
        swap(Applier, "_in_time", lambda *_args, **_times: None),
        "expiry during a delivery",
        ("slow",),
    ),
]


def hunt(name: str, kinds: tuple[str, ...]) -> None:
    """Tries a scenario, its histories without faults first, or a race with up to two switches. Raises Broken."""
    if name in RACES:
        race(RACES[name], 2)
        return
    explore(SCENARIOS[name], faults=0)
    explore(SCENARIOS[name], kinds=kinds, calls=CALLS)
