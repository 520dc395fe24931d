"""What a link that stands is now, in one word that every view shows. Pure.

| word        | meaning                                                                                              |
|-------------|------------------------------------------------------------------------------------------------------|
| `closing`   | all of its rules go at the next sweep: locked, consent ended or withdrawn, nobody asks any more, …    |
| `half-open` | one of the two rules of a mutual link is missing                                                     |
| `open`      | packets pass, in each direction that the link opens and on each of its ports                         |
| `partly`    | some packets pass, others do not                                                                     |
| `blocked`   | no packet passes                                                                                     |
| `unknown`   | something that decides about packets was not read                                                    |

The first that holds is the state. What closes follows from the same steps as a plan of the sweep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from link_peer.domain.denial import Denial
from link_peer.domain.model import ALL, Claim, Marker, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import actual_state, link_of
from link_peer.planning.claims import wanted_by_all
from link_peer.planning.decision import Context, Unseen
from link_peer.planning.desired import Seen, desired_state, judge
from link_peer.planning.reach import Reach, Scene, both_ways, reach
from link_peer.planning.removals import Losses, May, losses
from link_peer.planning.standing import Standing


class State(msgspec.Struct, frozen=True):
    """`word` as in the table above. `why` says what closes the link, which half is missing, or what decides about packets.
    `until` is when it ends at the earliest, by its claims or by consent (epoch seconds), None where it need not end."""

    word: str
    why: str
    until: int | None = None


def states(scene: Scene, policy: Policy, region: str, now: float, links: Iterable[Standing]) -> list[State]:
    """The state of each link, from what was read: rules of all groups of its instances, and in whole accounts who asks."""
    going = _going(scene.snapshot, policy, region, now)
    return [_state(scene, link, going) for link in links]


def _going(snapshot: Snapshot, policy: Policy, region: str, now: float) -> Mapping[RuleKey, Denial]:
    """The rules that a sweep removes now, and why. What its guard would hold back stays."""
    # a half of a request's mutual link is called half-open, although the sweep removes it once it is old enough
    context = Context(policy, region, now, ("repair", "repair"), hidden_asks=True)
    seen = Seen(snapshot, context, actual_state(snapshot, policy, region))
    judged = judge(seen, wanted_by_all(snapshot, policy, region, now))
    desired = desired_state(judged.answers, seen.actual)

    def may_lose(rule: Rule, marker: Marker, _claim: Claim) -> May:
        whole = rule.group.account in snapshot.whole_accounts
        return May.TAKE if whole or (rule.key and snapshot.covers(link_of(rule.key, marker))) else May.CLOSE

    def lost(held: Collection[Unseen]) -> Losses:
        return losses(seen, judged, desired, may_lose, held)

    limit = policy.limits.removals_per_run
    found = lost([unseen for unseen, keys in lost(()).due.items() if len(keys) > limit])
    return {key: found.lost[key].why for key in found.freed}


def _state(scene: Scene, link: Standing, going: Mapping[RuleKey, Denial]) -> State:
    ends = [end for end in (link.until, link.consent_until) if end is not None]
    until = min(ends, default=None)
    causes = [why for rule in link.rules if rule.key and (why := going.get(rule.key))]
    if len(causes) == len(link.rules):
        return State("closing", causes[0].detail, until)
    if link.half is not None:
        return State("half-open", f"{link.half} has no rule", until)
    found = link_reach(scene, link)
    return State(found.word, found.detail, until)


def link_reach(scene: Scene, link: Standing) -> Reach:
    """What becomes of a link's packets."""
    if not link.mutual:
        return reach(scene, link.source, link.target, link.ports, link.members)
    return both_ways(reach(scene, link.source, link.target, (ALL,)), reach(scene, link.target, link.source, (ALL,)))
