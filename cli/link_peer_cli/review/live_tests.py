"""The policy's `tests`, judged on what the cloud says now.

| test     | fails if                                                                                          |
|----------|---------------------------------------------------------------------------------------------------|
| `accept` | the link would be denied if requested: by the policy, a lock, for lack of consent, a route, room… |
| `deny`   | the link would be opened if requested, or packets pass already, by anybody's rules                |

Packets on ports must pass on none of them; a test without ports is about the mutual link, so everything must pass for
it to fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from link_peer.domain.model import ALL, Link, Party, Port
from link_peer.planning import effect_text
from link_peer.planning.decision import Context
from link_peer.planning.effect import End, between, end_of, end_of_party
from link_peer.views import policy_tests
from link_peer.views.policy_tests import Finding, PolicyVerdict
from link_peer.views.reach import Scene

from link_peer_cli.inventory.reading import SavedView, View, verdict_if_asked


def judge(view: View | SavedView, context: Context) -> list[Finding]:
    """A finding for each link of each test, in the file's order. PolicyVerdict.OPEN: something that decides could not
    be read."""
    findings = policy_tests.judge(context.policy, context.now)
    view.around(party for finding in findings for party in (finding.source, finding.target))
    view.deciding((finding.source, finding.target) for finding in findings)
    return [_live(view, context, finding) for finding in findings]


def _live(view: View | SavedView, context: Context, finding: Finding) -> Finding:
    if finding.source.is_group != finding.target.is_group:
        return finding
    link = Link(finding.source, finding.target, finding.ports)
    judged = verdict_if_asked(view, context, link)
    verdict, reason = PolicyVerdict.ALLOWED, "; ".join(judged.consent)
    if judged.denial:
        verdict, reason = PolicyVerdict.OPEN if judged.denial.undecided else PolicyVerdict.DENIED, str(judged.denial)
    if finding.expected is PolicyVerdict.DENIED and verdict is PolicyVerdict.DENIED:
        passes, detail = _passing(view.scene, link)
        if passes is None:
            verdict, reason = PolicyVerdict.OPEN, f"it is not known whether packets pass: {detail}"
        elif passes:
            verdict, reason = PolicyVerdict.ALLOWED, f"packets pass already: {detail}"
    return msgspec.structs.replace(finding, verdict=verdict, reason=reason)


def _passing(scene: Scene, link: Link) -> tuple[bool | None, str]:
    """Whether packets of a link pass, between any two instances of its ends; and what decides."""
    forward = _between(scene, link.source, link.target, link.ports or (ALL,))
    if not link.mutual or forward[0] is False:
        return forward
    back = _between(scene, link.target, link.source, (ALL,))
    return forward if forward[0] is None and back[0] is not False else back


def _between(scene: Scene, source: Party, target: Party, ports: Sequence[Port]) -> tuple[bool | None, str]:
    """Whether any of these ports is open, at least in part, or, of a mutual link, everything."""
    unknown = ""
    for start, end in _pairs(scene, source, target):
        for port in ports:
            effect = between(scene.snapshot, start, end, (port,))
            if effect.passes or (effect.passed and port != ALL):
                return True, effect_text.detail(effect)
            if effect.passes is None:
                unknown = unknown or effect_text.detail(effect)
    return (None, unknown) if unknown else (False, "")


def _pairs(scene: Scene, source: Party, target: Party) -> Iterator[tuple[End, End]]:
    """The ends of each pair of instances; of a group without instances, one that would be in it alone."""
    for start in _ends(scene, source):
        for end in _ends(scene, target):
            yield start, end


def _ends(scene: Scene, party: Party) -> list[End]:
    ends = list(dict.fromkeys(map(end_of, scene.members(party))))
    if party.is_group and not ends and (alone := end_of_party(scene.snapshot, party)):
        return [alone]
    return ends
