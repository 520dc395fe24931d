"""A few random runs, the same ones every time (`make prove` tries thousands), and those that once broke an invariant,
shortened as far as possible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from link_peer.domain.model import Party
from link_peer.domain.policy import Pause

from tests.simulation import oracle
from tests.simulation.driver import deliver
from tests.simulation.explore import explore
from tests.simulation.messages import sweep_message
from tests.simulation.random_inputs import ADVANCED, FAR, INSTANCES, POLICIES, A, B, X, Y
from tests.simulation.random_run import RandomRun, try_runs
from tests.simulation.scenarios import SCENARIOS, kept, sweeps
from tests.simulation.scenarios.common import POLICY
from tests.simulation.world import HOME

ONE, TWO, THREE, FOUR, FIVE = INSTANCES


def test_no_random_run_breaks_an_invariant() -> None:
    try_runs(25, 20)


@pytest.fixture(name="run")
def _run() -> Iterator[RandomRun]:
    run = RandomRun()
    yield run
    run.teardown()


def test_the_intent_of_an_instance_link_names_the_group_that_gets_the_tag(run: RandomRun) -> None:
    """I5: a second delivery finds the rules without the managed tag, and adds it."""
    run.begin(tags=[])
    run.request(ends=(ONE, TWO), name="r-1", action="link", wanted_ports=[], until=0, plan={}, inside=True, at=2)


def test_an_instance_that_names_itself_keeps_no_tag_on_its_group(run: RandomRun) -> None:
    """I9: the group has lost its last rule of ours, and an invalid tag is no reason to keep the managed tag."""
    run.begin(tags=[(FOUR, B, [])])
    run.tag(party=FOUR, peer=A, wanted_ports=["tcp/20-30", "udp/53"], key="link-peer")
    run.tag(party=FOUR, peer=FOUR, wanted_ports=[], key="link-peer.2")
    assert oracle.managed_tag(POLICY) in run.world.groups[X].tags
    run.come_to_rest()


def test_an_expired_request_does_not_remove_a_tags_claim(run: RandomRun) -> None:
    """I9: the request has expired and reads show no instance: the tag's claim stays."""
    run.begin(tags=[(FOUR, A, [])])
    run.request(ends=(A, X), name="r-2", action="link", wanted_ports=[], until=600, plan={}, inside=False, at=0)
    run.advance_time(policy=POLICY, seconds=700)
    run.sweep(plan={-1: "empty"}, inside=False, at=0)
    assert set(oracle.owned(run.world, POLICY).values()) == {frozenset({"tag"})}


def test_an_account_that_denies_access_during_an_event_ends_the_delivery(run: RandomRun) -> None:
    """The rules were readable but the instances were not: the function once read them again and again."""
    run.begin(tags=[(ONE, B, [])])
    run.untag(party=ONE, key="link-peer", text="")
    run.event(party=ONE, state="tags", plan={0: "kill"}, inside=False, at=0)
    calls = deliver(run.world.copy(), run.sent[-1], POLICY).calls
    assert "members" in calls
    for number in range(len(calls)):
        delivery = deliver(run.world.copy(), run.sent[-1], POLICY, {number: "forbidden"})
        assert delivery.end in ("acked", "raised")


def test_the_same_request_id_with_another_end_is_denied(run: RandomRun) -> None:
    """I6: what the id stands for already is kept as it was, without an end."""
    run.begin(tags=[])
    for until in (0, 600):
        run.request(ends=(X, A), name="r-1", action="link", wanted_ports=[], until=until, plan={}, inside=False, at=0)
    assert set(oracle.owned(run.world, POLICY).values()) == {frozenset({"req:r-1"})}


def test_a_removal_beside_an_equal_rule_of_another_home_is_recorded_exactly(run: RandomRun) -> None:
    """I4, I12: the record named the other home's rule, and the group was tagged for nothing."""
    run.begin(tags=[])
    run.forge(ends=(A, B), port="tcp/3306", claim="tag")
    run.sweep(plan={}, inside=False, at=0)


def test_a_stripped_tag_is_written_again_while_the_peer_account_refuses_access(run: RandomRun) -> None:
    """I9: the rule stays, since consent names its source, and sweeps must go on finding it."""
    run.begin(tags=[(FOUR, A, [])])
    run.change_role(hide=True)
    run.change_group(group=A, kind="strip")
    run.come_to_rest()


def test_a_rule_with_a_raised_priority_beside_an_equal_rule_is_removed(run: RandomRun) -> None:
    """I3': the platform refuses to put our rule back to priority 100 while a person's equal rule has it."""
    run.begin(tags=[(FOUR, A, ["tcp/3306"])])
    run.edit_rule(group=A, number=0, text="strengthen")
    run.add_manual_rule(ends=(X, A), port="tcp/3306", priority=100, policy="accept")
    run.come_to_rest()


def test_a_sync_that_only_removes_closes_what_else_stands_on_a_locked_group(run: RandomRun) -> None:
    """I15: no tag asked for the pair any more, and the rule of a request stayed on the group that was read locked."""
    run.begin(tags=[(ONE, X, [])])
    run.forge(ends=(X, A), port="udp/53", claim="req:r-1")
    run.untag(party=ONE, key="link-peer", text="")
    run.change_group(group=A, kind="lock")
    run.request(ends=(A, X), name="r-2", action="sync", wanted_ports=[], until=0, plan={}, inside=False, at=0)
    assert all(key.group != A for key in oracle.owned(run.world, POLICY))


def test_a_look_for_an_account_that_cannot_be_read_while_closing_is_on_record(run: RandomRun) -> None:
    """I5: a locked group is closed beside the event's own work, and the other half of its mutual link cannot be
    read."""
    run.begin(tags=[(FOUR, A, [])])
    run.tag(party=THREE, peer=A, wanted_ports=["tcp/3306"], key="link-peer")
    run.change_group(group=A, kind="lock")
    run.event(party=THREE, state="Running", plan={5: "account-down"}, inside=False, at=0)


@pytest.mark.parametrize("how", ["event", "request", "sync", "sweep"])
@pytest.mark.parametrize("change", ["withdrawn-now", "locked-now"])
def test_half_of_a_mutual_link_goes_where_the_other_group_takes_its_word_back(how: str, change: str) -> None:
    """I15: the missing half was written, read back and taken back, and the one that stood on the other group stayed."""
    for call in range(3, 10):
        run = RandomRun()
        run.begin(tags=[(THREE, X, [])])
        run.edit_rule(group=X, number=0, text="delete")
        fault: dict[str, Any] = {"plan": {call: change}, "inside": False, "at": 0}
        if how == "event":
            run.event(party=THREE, state="Running", **fault)
        elif how == "sweep":
            run.sweep(**fault)
        else:
            action = "sync" if how == "sync" else "link"
            run.request(ends=(B, X), name="r-1", action=action, wanted_ports=[], until=0, **fault)
        run.teardown()


@pytest.mark.parametrize("call", range(3, 10))
def test_a_policy_that_changes_while_tags_are_read_again_counts(run: RandomRun, call: int) -> None:
    """I1: the policy was read before the tags, which took a while."""
    run.begin(tags=[])
    slow = {2: "slow", call: "policy"}
    run.request(ends=(X, B), name="r-3", action="link", wanted_ports=[], until=0, plan=slow, inside=False, at=0)


@pytest.mark.parametrize("call", range(2, 7))
def test_a_pause_during_a_repair_takes_nothing_away(run: RandomRun, call: int) -> None:
    """I9: the missing half of a tag's mutual link was not written, and the other one was removed."""
    run.begin(tags=[(THREE, A, [])])
    run.edit_rule(group=A, number=0, text="delete")
    run.sweep(plan={call: "paused"}, inside=False, at=0)


def test_a_raised_rule_is_removed_beside_an_equal_one_of_ours(run: RandomRun) -> None:
    """I9: the tag's claim stands on the equal rule, which a tenant has forged."""
    run.begin(tags=[(FOUR, A, ["tcp/3306"])])
    run.edit_rule(group=A, number=0, text="strengthen")
    run.forge(ends=(X, A), port="tcp/3306", claim="tag")
    run.come_to_rest()


def test_a_group_whose_links_by_address_have_ended_keeps_no_tag(run: RandomRun) -> None:
    """I9: the sweep that took the claim, which had ended, found that it waits for a rule."""
    run.begin(tags=[])
    request: dict[str, Any] = {"name": "r-3", "action": "link", "wanted_ports": ["udp/53"], "until": 600}
    run.request(ends=(A, ADVANCED), plan={}, inside=False, at=0, **request)
    run.advance_time(policy=POLICY, seconds=700)


@pytest.mark.parametrize(
    ("name", "kinds"), [("a limit by address", ("omit-one", "stale")), ("leaving by address", ("stale",))]
)
def test_no_read_that_shows_too_little_breaks_an_invariant(name: str, kinds: tuple[str, ...]) -> None:
    """I9, of a limit: an instance was left out, so that another one was admitted, whose rule a stale read did not show.
    I6, of an address that another instance has by now: a stale read showed no rules, and the rollback took them all."""
    assert explore(SCENARIOS[name], kinds=kinds).histories > 1_000


@pytest.mark.parametrize("call", [2, 3, 4])
def test_an_account_whose_reads_turn_empty_loses_no_rule(call: int) -> None:
    """From a page of its list on, or from the read of a group on, it shows nothing: who asks for the rule is its
    group's only member, on the second page."""
    world = sweeps.paged(0)
    first = world.instances[sweeps.FIRST]
    world.instances[sweeps.FIRST] = msgspec.structs.replace(first, groups=("sg-store",), tags={})
    run = deliver(world, sweeps.swept("begin"), POLICY, {call: "empty"})
    assert run.end == "acked"
    assert sweeps.STANDS in oracle.owned(world, POLICY)


def test_a_locked_group_of_another_account_is_closed_whole_where_a_sweep_changes_it(run: RandomRun) -> None:
    """I15: the sweep of home took the egress of its links off the group, and left the rules of links within the other
    account."""
    run.begin(tags=[(FOUR, B, ["udp/53"])], advanced={X, B})
    run.request(
        ends=(FOUR, FIVE), name="r-2", action="link", wanted_ports=["icmp"], until=0, plan={}, inside=False, at=0
    )
    run.change_group(group=X, kind="lock")
    run.come_to_rest()


def test_a_port_rule_goes_although_the_mutual_link_stands_in_part_as_a_persons_rule(run: RandomRun) -> None:
    """I4, I9: the sweep of the other account took the half that it had not read for a missing one, which was to replace
    the port rule. It recorded a removal that it did not make, at every run."""
    run.begin(tags=[(THREE, X, [])])
    run.edit_rule(group=X, number=0, text="link-peer/2 dep=prod home=1000000000000001 note")
    run.forge(ends=(B, X), port="icmp", claim="tag")
    run.come_to_rest()


def test_what_a_group_refuses_that_is_read_for_the_plan_is_closed_before_the_link_opens(run: RandomRun) -> None:
    """I14: the refusal was read with the groups of the target's instances, after what stands against the word of groups
    was judged."""
    run.begin(tags=[(FOUR, X, []), (THREE, B, ["tcp/20-30", "icmp"]), (ONE, B, [])], advanced={X, ADVANCED, FAR})
    request: dict[str, Any] = {"name": "r-2", "action": "link", "wanted_ports": ["tcp/3306", "udp/53"], "until": 0}
    run.request(ends=(X, B), plan={-1: "empty"}, inside=False, at=2, **request)
    run.refuse(group=A, holder=X, kind="typo", limits=["udp/53"])
    run.sweep(plan={-1: "empty"}, inside=True, at=10)


def test_a_request_does_not_join_an_egress_rule_as_one_of_a_group_that_consents_no_more(run: RandomRun) -> None:
    """I1: the instances of the source's group were not read, so that it was not known whether the rule may stand for
    the group in its marker. The claim joined it, and was judged by that group's consent from then on."""
    run.begin(tags=[(FIVE, B, ["tcp/3306"])], advanced={A, B, X, Y, FAR, ADVANCED})
    transient: dict[str, Any] = {"until": 0, "plan": {-1: "empty"}, "inside": False}
    run.request(ends=(FIVE, TWO), name="r-2", action="link", wanted_ports=["tcp/3306"], at=3, **transient)
    run.request(ends=(TWO, ONE), name="r-3", action="sync", wanted_ports=["icmp", "tcp/3306"], at=14, **transient)
    run.set_consent(group=B, party=B, key="link-accept", kind="who", limits=["tcp/20-30"])
    run.request(ends=(X, B), name="r-3", action="link", wanted_ports=[], at=5, **transient)
    run.redeliver(number=3, plan={})


def test_a_rule_that_is_asked_for_and_consented_stays_where_the_other_end_was_deleted_by_hand() -> None:
    """I16: the tag asks for a port more, which is not accepted. The egress rule of an instance link was kept by its
    ingress rule alone, so that a read without that rule removed it."""
    world = kept.instances()
    world.set_tag(Party(HOME, "i-one"), "link-peer", f"i-store:{kept.WIDER}")
    for rule_id in list(world.rules[kept.HOME_DB]):
        world.delete_manually(kept.HOME_DB, rule_id)
    deliver(world, sweep_message(), kept.BY_ADDRESS)
    assert [key.is_egress for key in oracle.owned(world, kept.BY_ADDRESS)] == [True]


def test_a_claim_that_ends_while_the_repair_of_its_rule_is_paused_is_not_recorded_as_removed(run: RandomRun) -> None:
    """I4: one change was to put back the priority and to take the claim."""
    run.begin(tags=[])
    run.advance_time(policy=msgspec.structs.replace(POLICY, paused=Pause.ALL), seconds=700)
    run.forge(claim="tag,req:forged~20270115T080500Z", ends=(X, A), port="all")
    run.edit_rule(group=A, number=0, text="strengthen")
    run.sweep(at=16, inside=True, plan={-1: "empty"})


@pytest.mark.parametrize("kind", ["lost-after", "omit-one"])
def test_the_requests_of_an_instance_that_moves_survive_a_lost_answer_and_a_read_that_omits_it(kind: str) -> None:
    """I16. The answer to the removal of the former address's rule was lost: what had been written for the new address
    was then taken for an instance that joined a link which had ended. And an instance that its first event does not
    show yet lost its rule."""
    assert explore(SCENARIOS["requests move, the only member"], kinds=(kind,)).histories > 400


def test_the_record_of_a_move_names_no_rule_of_the_former_address_that_stays_for_another_request() -> None:
    """I4: a stale read had hidden the claim of the other request, which then stayed where it was."""
    assert explore(SCENARIOS["requests move, instances"], kinds=("stale",)).histories > 800


def test_another_group_stands_for_an_instance_where_a_person_lets_the_first_out_on_one_of_two_ports(
    run: RandomRun,
) -> None:
    """I9: the rule of that port goes on to name the first group, and serves the link of the other one."""
    run.begin(tags=[(FIVE, A, ["tcp/20-30", "udp/53"])], advanced={A, X, Y})
    run.set_consent(group=A, key="link-accept", kind="*", limits=[], party=FIVE)
    for group in (X, Y):
        run.set_consent(group=group, key="link-egress", kind="*", limits=[], party=ONE)
    run.sweep(plan={}, inside=False, at=0)
    run.set_consent(group=X, key="link-egress", kind="nobody", limits=[], party=ONE)
    run.let_out(group=X, port="udp/53")
    run.sweep(plan={}, inside=False, at=0)
    assert {key.group for key in oracle.owned(run.world, POLICY) if key.is_egress} == {Y}


def test_each_record_of_links_that_share_a_new_rule_names_it(run: RandomRun) -> None:
    """I4: the rule was named by the first link alone; the other was said to be open on ports of which no rule was
    named."""
    run.begin(tags=[(FOUR, A, ["tcp/20-30"])])
    run.tag(key="link-peer", party=FIVE, peer=A, wanted_ports=["icmp"])
    run.tag(key="link-peer.2", party=FOUR, peer=A, wanted_ports=["icmp", "udp/53"])
    run.event(at=0, inside=False, party=ONE, plan={-1: "empty"}, state="Running")


def test_a_request_links_a_member_of_both_groups_where_the_other_member_is_refused(run: RandomRun) -> None:
    """I1: egress is needed by nobody else, but the request asks for it."""
    run.begin(tags=[], advanced={A, B, X, Y, FAR, ADVANCED})
    run.refuse(group=B, holder=FAR, kind="typo", limits=[])
    wish: dict[str, Any] = {"ends": (A, ADVANCED), "action": "link", "wanted_ports": ["udp/53", "tcp/20-30"]}
    run.request(name="r-3", at=5, until=0, inside=False, plan={}, **wish)
    assert {key.group for key in oracle.owned(run.world, POLICY)} == {A, ADVANCED}


def test_a_rule_stays_where_a_person_lets_its_instance_out_by_another_group_than_the_locked_one(run: RandomRun) -> None:
    """I1: the instance's packets pass."""
    run.begin(tags=[(ONE, X, ["tcp/3306"])], advanced={A, B, X, Y, FAR, ADVANCED})
    run.change_group(group=ADVANCED, kind="lock")
    run.let_out(group=A, port="all")
    run.sweep(plan={}, inside=False, at=0)
    assert {key.group for key in oracle.owned(run.world, POLICY)} == {X}


def test_the_egress_rule_of_an_instance_is_on_the_group_that_the_policy_lets_out(run: RandomRun) -> None:
    """I1, I11: `allow` names another group of the instance than the first, on which each sweep wrote the rule, and took
    it back."""
    (policy,) = (policy for policy in POLICIES if policy.allow)
    run.begin(tags=[], advanced={A, B, X, Y, FAR, ADVANCED})
    run.advance_time(policy=policy, seconds=301)
    run.tag(key="link-peer", party=TWO, peer=THREE, wanted_ports=["udp/53", "icmp"])
    run.sweep(plan={}, inside=False, at=0)
    assert {key.group for key in oracle.owned(run.world, policy) if key.is_egress} == {A}


def test_a_link_stays_that_a_person_lets_out_of_a_locked_group(run: RandomRun) -> None:
    """I11, I16: each sweep removed its rule before it had read whom the person's rule lets out to, and wrote it
    again."""
    run.begin(tags=[(TWO, ADVANCED, ["tcp/3306"])], advanced={A, B, X, Y, FAR, ADVANCED})
    run.edit_rule(group=B, number=0, text="mine now")
    run.change_group(group=B, kind="lock")
    run.sweep(plan={}, inside=False, at=0)
    assert {key.group for key in oracle.owned(run.world, POLICY)} == {ADVANCED}


def test_a_request_has_an_egress_rule_of_a_tag_stand_for_its_own_group(run: RandomRun) -> None:
    """I9: the members of that group are to follow."""
    run.begin(tags=[(FIVE, B, ["udp/53"])], advanced={A, B, X, Y, FAR, ADVANCED})
    wish: dict[str, Any] = {"ends": (X, A), "action": "link", "wanted_ports": ["tcp/20-30", "udp/53"], "until": 600}
    run.request(name="r-3", at=11, inside=False, plan={}, **wish)
    shared_rules = [
        rule for rule in oracle.owned_rules(run.world, POLICY) if rule.key.is_egress and len(rule.claims) == 2
    ]
    assert [rule.pair for rule in shared_rules] == [(TWO, A)]


def test_a_port_rule_of_the_other_account_goes_once_a_mutual_link_took_its_place(run: RandomRun) -> None:
    """I9: at the next sweep of that account."""
    run.begin(tags=[(FOUR, A, ["tcp/3306"])])
    run.tag(key="link-peer", party=FOUR, peer=A, wanted_ports=[])


@pytest.mark.parametrize("first", ["the group", "the instance", "both"])
def test_links_to_a_group_and_to_its_instance_share_an_egress_rule(run: RandomRun, first: str) -> None:
    """I9: after the link to the instance, that to its group was denied: the rule existed `already for i-3, which has
    the same address`."""
    wishes = {
        "the group": {"key": "link-peer", "peer": B, "wanted_ports": ["udp/53", "tcp/20-30"]},
        "the instance": {"key": "link-peer.2", "peer": THREE, "wanted_ports": ["udp/53", "tcp/3306"]},
    }
    run.begin(tags=[], advanced={A})
    for name in sorted(wishes, key=lambda name: name != first):
        run.tag(party=TWO, **wishes[name])  # type: ignore[arg-type]
        if first != "both":
            run.sweep(plan={}, inside=False, at=0)
    run.sweep(plan={}, inside=False, at=0)
    assert len(oracle.owned(run.world, POLICY)) == 4 + 3
    run.come_to_rest()
    run.untag(key="link-peer.2", party=TWO, text="")
    run.sweep(plan={}, inside=False, at=0)
    assert len(oracle.owned(run.world, POLICY)) == 2 + 2


def test_what_a_former_group_forbids_is_closed_before_the_link_of_the_new_group_opens(run: RandomRun) -> None:
    """I14: the locked group that the instance had left was closed after the link of its new group was open."""
    run.begin(tags=[(ONE, B, ["icmp"])], advanced={A, B, Y, FAR})
    run.forge(claim="req:forged", ends=(Y, A), port="icmp")
    run.event(at=0, inside=False, party=ONE, plan={-1: "empty"}, state="Running")
    run.change_group(group=A, kind="lock")
    run.change_instance(away=False, group=FAR, ip="10.0.0.3", party=ONE)


def test_a_refusal_of_a_group_of_another_account_is_closed_before_the_sweep_opens(run: RandomRun) -> None:
    """I14: home's sweep removed its own rule from the group first, opened its other links, and closed the refused rule
    last."""
    run.begin(tags=[(ONE, X, [])])
    run.refuse(group=X, holder=X, kind="*", limits=[])
    run.tag(key="link-peer.2", party=THREE, peer=A, wanted_ports=[])
    run.forge(claim="req:r-1", ends=(ADVANCED, X), port="all")
    run.forge(claim="tag", ends=(Y, X), port="all")


def test_consent_withdrawn_in_another_account_is_closed_before_the_sweep_opens_there(run: RandomRun) -> None:
    """I14: the group was closed once the link that the sweep opens on it stood."""
    run.begin(tags=[(FOUR, Y, [])])
    run.request(ends=(FIVE, THREE), name="r-3", action="link", wanted_ports=[], until=0, plan={}, inside=False, at=0)
    run.set_consent(group=Y, key="link-accept", kind="who", limits=[], party=FIVE)
    run.change_instance(away=False, group=B, ip="10.0.0.5", party=FIVE)
    run.change_instance(away=True, group=Y, ip="203.0.113.9", party=FIVE)
    run.tag(key="link-peer.2", party=THREE, peer=X, wanted_ports=["tcp/3306"])


def test_a_pause_keeps_no_tag_for_a_rule_that_it_holds_back(run: RandomRun) -> None:
    """I11: the sweep that had read who asks for it kept the tag, and the next one took it off."""
    (paused,) = (policy for policy in POLICIES if policy.paused is Pause.OPENING)
    run.begin(tags=[(FOUR, ADVANCED, ["udp/53"]), (TWO, Y, [])])
    run.tag(key="link-peer", party=FOUR, peer=B, wanted_ports=[])
    run.tag(key="link-peer", party=FIVE, peer=B, wanted_ports=["tcp/3306"])
    run.advance_time(policy=paused, seconds=301)
    run.refuse(group=B, holder=X, kind="*", limits=["icmp"])


def test_a_request_with_an_end_is_denied_the_id_that_another_link_carries_on_a_rule_of_both(run: RandomRun) -> None:
    """I16: the egress rule got the end of the second link, and the first one would have ended with it."""
    run.begin(tags=[], advanced={B, Y})
    request: dict[str, Any] = {
        "name": "r-1",
        "action": "link",
        "wanted_ports": ["tcp/3306"],
        "plan": {},
        "inside": False,
    }
    run.request(ends=(Y, B), until=0, at=0, **request)
    before = oracle.owned(run.world, POLICY)
    run.request(ends=(FIVE, THREE), until=600, at=0, **request)
    assert oracle.owned(run.world, POLICY) == before


def test_a_rule_of_a_request_stands_for_no_request_of_another_group_of_its_instance(run: RandomRun) -> None:
    """I9: each follows the group in the rule's marker. The instance is admitted by the first one."""
    run.begin(tags=[], advanced={FAR, X, Y})
    for name, group in (("r-1", Y), ("r-3", X)):
        run.request(
            ends=(group, B), name=name, action="link", wanted_ports=["tcp/3306"], until=0, plan={}, inside=False, at=0
        )


def test_a_tag_shares_the_egress_rule_of_an_instance_link(run: RandomRun) -> None:
    """I9: whatever its marker names, it serves every link to the instance."""
    run.begin(tags=[], advanced={A, B, X, Y, ADVANCED})
    run.request(
        ends=(FIVE, TWO), name="r-2", action="link", wanted_ports=["tcp/20-30"], until=0, plan={}, inside=False, at=0
    )
    run.tag(key="link-peer", party=FOUR, peer=A, wanted_ports=["icmp", "tcp/20-30"])


def test_a_rule_stays_by_the_consent_to_another_group_of_its_instance_until_the_sweep_names_that(
    run: RandomRun,
) -> None:
    """I15: an event of another target reads the group."""
    run.begin(tags=[(ONE, B, ["icmp", "tcp/3306"])], advanced={A, B, X, Y, FAR, ADVANCED})
    run.set_consent(group=B, key="link-accept", kind="who", limits=[], party=A)
    run.event(at=0, inside=False, party=THREE, plan={}, state="Running")


def test_all_rules_of_a_link_name_the_group_that_stands_for_its_instance(run: RandomRun) -> None:
    """I1: a person lets the instance out on one of two ports, whose rule went on to name the locked group."""
    run.begin(tags=[(TWO, X, ["icmp", "tcp/3306"])], advanced={A, B, FAR, ADVANCED, Y})
    run.let_out(group=A, port="icmp")
    run.change_group(group=B, kind="lock")


def test_what_a_request_let_out_of_a_group_goes_once_its_instance_has_left_that(run: RandomRun) -> None:
    """I3: the ingress rule, which stands, kept the egress rule of the former group for ever."""
    run.begin(tags=[], advanced={A})
    run.request(
        ends=(ONE, FOUR), name="r-2", action="link", wanted_ports=["tcp/3306"], until=0, plan={}, inside=False, at=0
    )
    run.change_instance(away=False, group=B, ip="10.0.0.3", party=ONE)


def test_a_rule_whose_marker_was_written_anew_goes_where_consent_went_meanwhile(run: RandomRun) -> None:
    """I15: the sweep took back the rest of the link, and left this rule for the next one."""
    run.begin(tags=[(ONE, ADVANCED, ["tcp/20-30", "tcp/3306"]), (THREE, Y, ["udp/53"]), (TWO, FAR, ["icmp"])])
    run.change_instance(away=True, group=B, ip="10.0.0.2", party=ONE)
    run.sweep(at=0, inside=False, plan={5: "withdrawn-now"})


def test_port_rules_stay_while_a_pause_holds_back_the_mutual_link_that_takes_their_place(run: RandomRun) -> None:
    """I9: once it is open, they go."""
    (paused,) = (policy for policy in POLICIES if policy.paused is Pause.OPENING)
    run.begin(tags=[(ONE, X, ["udp/53"])])
    run.tag(key="link-peer", party=ONE, peer=X, wanted_ports=[])
    run.advance_time(policy=paused, seconds=30)


def test_the_removal_of_a_rule_that_a_link_replaces_once_it_is_open_is_recorded_with_that(run: RandomRun) -> None:
    """I4: the removal of the rule beside it said that both were gone, before the link was open."""
    run.begin(tags=[(TWO, FAR, ["icmp", "udp/53"])])
    run.tag(key="link-peer", party=THREE, peer=FAR, wanted_ports=["udp/53"])
    run.tag(key="link-peer", party=TWO, peer=ONE, wanted_ports=["tcp/3306"])


def test_a_mutual_link_stays_that_a_lower_limit_denies(run: RandomRun) -> None:
    """I16: port rules stayed, and it went."""
    (limited,) = (policy for policy in POLICIES if policy.limits.max_peers == 1)
    run.begin(tags=[])
    run.advance_time(policy=limited, seconds=30)
    run.tag(key="link-peer.2", party=ONE, peer=B, wanted_ports=[])
    run.sweep(at=0, inside=False, plan={})
    run.tag(key="link-peer", party=ONE, peer=B, wanted_ports=["tcp/3306"])


def test_a_rule_whose_only_claim_has_ended_is_not_recorded_as_repaired(run: RandomRun) -> None:
    """I4: the request of another link put the priority back, and the rule was removed."""
    run.begin(tags=[], advanced={A, FAR, X, Y})
    request: dict[str, Any] = {"action": "link", "plan": {}, "inside": False, "at": 0}
    run.request(ends=(TWO, THREE), name="r-2", until=600, wanted_ports=["icmp"], **request)
    run.advance_time(policy=POLICY, seconds=700)
    number = sorted(run.world.rules[A]).index(
        next(owned.rule.id for owned in oracle.owned_rules(run.world, POLICY) if owned.key.is_egress)
    )
    run.edit_rule(group=A, number=number, text="strengthen")
    run.request(ends=(TWO, ONE), name="r-3", until=0, wanted_ports=[], **request)


def test_the_rule_of_a_member_that_left_is_closed_before_a_link_of_other_members_opens(run: RandomRun) -> None:
    """I14: it was taken for one whose place the new rules take."""
    run.begin(tags=[(FIVE, A, ["tcp/3306"]), (ONE, A, ["icmp"]), (THREE, B, ["tcp/20-30", "icmp"])], advanced={B, Y})
    run.edit_rule(group=A, number=1, text="delete")
    run.change_instance(away=True, group=B, ip="203.0.113.9", party=ONE)


def test_both_ends_of_what_lost_consent_go_at_the_event_that_closes_one(run: RandomRun) -> None:
    """I15: an event of a target closed the egress rules, and left the ingress rule on the group that had withdrawn its
    consent."""
    run.begin(tags=[(TWO, B, ["tcp/3306", "tcp/20-30"])], advanced={Y, A, FAR, X})
    run.tag(key="link-peer", party=TWO, peer=A, wanted_ports=[])
    run.set_consent(group=B, key="link-accept", kind="nobody", limits=[], party=B)
    run.event(at=0, inside=False, party=THREE, plan={}, state="tags")


def test_an_egress_rule_whose_marker_is_damaged_closes_no_half_beside_a_persons(run: RandomRun) -> None:
    """I1: people let the group out, so that the lock ends its own rules alone; one that is left alone was taken for one
    of ours."""
    run.begin(tags=[(THREE, ADVANCED, ["tcp/3306", "udp/53"])], advanced={ADVANCED, A, B})
    run.let_out(group=B, port="tcp/3306")
    run.edit_rule(group=B, number=0, text=f"link-peer/2 dep=prod home={HOME} note")
    run.change_group(group=B, kind="lock")


def test_an_ingress_rule_stays_where_people_let_its_instance_out_to_some(run: RandomRun) -> None:
    """I16: it was judged by the target that may have no egress rule, though a person has taken over that of another."""
    run.begin(tags=[(THREE, X, ["tcp/20-30", "udp/53"])], advanced={FAR, A, Y, B, X, ADVANCED})
    run.change_instance(away=True, group=Y, ip="203.0.113.9", party=FIVE)
    run.edit_rule(group=B, number=0, text="mine now")
    run.change_instance(away=True, group=X, ip="10.0.0.2", party=FIVE)


def test_who_joins_a_target_is_let_out_only_to_whose_tag_asks_still(run: RandomRun) -> None:
    """I9: the event of the tag that went has not come yet."""
    run.begin(tags=[(ONE, B, ["tcp/3306"])], advanced={A, B, ADVANCED})
    run.edit_rule(group=ADVANCED, number=0, text="delete")
    run.tag(key="link-peer", party=ONE, peer=FAR, wanted_ports=["tcp/3306"])
    run.event(at=0, inside=False, party=TWO, plan={}, state="Running")


def test_an_event_of_a_target_opens_no_half_of_a_link_that_is_not_open_yet(run: RandomRun) -> None:
    """I17: the event of the tag that asks for it has not come yet, and a peer's event read that instance."""
    run.begin(tags=[], advanced={A, Y})
    run.tag(key="link-peer.2", party=ONE, peer=B, wanted_ports=["icmp"])
    run.tag(key="link-peer", party=THREE, peer=ONE, wanted_ports=["tcp/3306"])
    run.event(at=0, inside=False, party=THREE, plan={}, state="Running")


def test_a_mutual_link_stays_open_at_both_ends_where_an_instance_names_too_many(run: RandomRun) -> None:
    """I12: the sweep of one account, which had not read the other half, closed what that of the other had opened."""
    (limited,) = (policy for policy in POLICIES if policy.limits.max_peers == 1)
    run.begin(tags=[(FIVE, X, [])])
    run.forge(claim="tag", ends=(X, A), port="tcp/20-30")
    run.advance_time(policy=limited, seconds=30)
    run.tag(key="link-peer.2", party=FIVE, peer=A, wanted_ports=[])


def test_half_of_an_instance_link_goes_at_the_latest_with_the_sweep_after_half_an_hour(run: RandomRun) -> None:
    """I9: a sweep of one account closed it at once, one of all later."""
    run.begin(tags=[], advanced={FAR, A, B})
    run.request(
        ends=(THREE, FIVE), name="r-3", action="link", wanted_ports=["tcp/3306"], until=0, plan={}, inside=False, at=0
    )
    run.change_group(group=X, kind="lock")


def test_a_requests_claim_leaves_the_egress_rule_of_a_groups_link_with_its_own_link(run: RandomRun) -> None:
    """I1: it was looked for on the rules of the link that the marker names."""
    run.begin(tags=[(THREE, A, ["icmp"])], advanced={A, B, ADVANCED})
    run.request(
        ends=(THREE, ONE), name="r-2", action="link", wanted_ports=["icmp"], until=0, plan={}, inside=False, at=0
    )
    run.change_instance(away=True, group=B, ip="10.0.0.5", party=THREE)


def test_port_rules_of_a_tag_that_ended_stay_while_a_pause_holds_back_what_covers_them(run: RandomRun) -> None:
    """I16: another instance asks for a mutual link between the two groups."""
    (paused,) = (policy for policy in POLICIES if policy.paused is Pause.OPENING)
    run.begin(tags=[(FOUR, B, ["udp/53", "tcp/20-30"])])
    run.untag(key="link-until", party=FOUR, text="+600")
    run.advance_time(policy=paused, seconds=30)
    run.tag(key="link-peer.2", party=FIVE, peer=B, wanted_ports=[])


def test_a_removal_does_not_name_a_rule_that_a_person_has_taken_over(run: RandomRun) -> None:
    """I4: a stale read showed it as ours, and the read before the change as the person's."""
    run.begin(tags=[(FIVE, B, [])])
    run.request(ends=(X, B), name="r-3", action="link", wanted_ports=[], until=600, plan={}, inside=False, at=0)
    run.edit_rule(group=X, number=0, text="mine now")
    run.sweep(at=0, inside=False, plan={})
    run.untag(key="link-peer", party=FIVE, text="")
    run.sweep(at=0, inside=False, plan={9: "stale"})


def test_an_egress_rule_stays_whose_instance_a_persons_rule_admits(run: RandomRun) -> None:
    """I16: the rule of ours of another instance, which is refused, was taken for all that there is."""
    run.begin(tags=[], advanced={FAR, Y, B, A, ADVANCED, X})
    run.request(ends=(A, X), name="r-1", action="link", wanted_ports=["tcp/3306"], until=0, plan={}, inside=False, at=0)
    run.edit_rule(group=X, number=0, text="mine now")
    run.refuse(group=B, holder=X, kind="typo", limits=[])


def test_an_instance_that_moves_to_an_advanced_group_keeps_its_link_whole(run: RandomRun) -> None:
    """I17: its egress rule was taken for that of an instance that joins a link which ended."""
    run.begin(tags=[], advanced={ADVANCED, FAR, B, Y})
    run.request(
        ends=(TWO, ONE), name="r-3", action="link", wanted_ports=["tcp/3306"], until=0, plan={}, inside=False, at=0
    )
    run.change_instance(away=False, group=B, ip="203.0.113.9", party=TWO)
    run.change_instance(away=True, group=B, ip="10.0.0.5", party=TWO)


def test_an_ingress_rule_is_not_kept_once_nothing_lets_its_instance_out(run: RandomRun) -> None:
    """I3: a person deleted the egress rule beside it, and the wish is refused on another port."""
    run.begin(tags=[(FOUR, Y, ["udp/53", "icmp"])], advanced={ADVANCED, X, FAR})
    run.refuse(group=X, holder=FIVE, kind="who", limits=["udp/53"])
    run.edit_rule(group=X, number=0, text="delete")


def test_the_egress_rule_of_a_request_goes_though_an_instance_of_another_account_has_the_same_request(
    run: RandomRun,
) -> None:
    """I16: that instance's ingress rule, to the same target, was taken for one of the source group."""
    run.begin(tags=[], advanced={B, X, Y})
    request: dict[str, Any] = {"name": "r-3", "until": 0, "plan": {}, "inside": False, "at": 0}
    for source in (FIVE, THREE):
        run.request(ends=(source, TWO), action="link", wanted_ports=["tcp/3306"], **request)
    run.request(ends=(THREE, TWO), action="unlink", wanted_ports=[], **request)
    assert not [
        owned for owned in oracle.owned_rules(run.world, POLICY) if owned.rule.group == B and owned.key.is_egress
    ]
