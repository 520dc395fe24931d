"""Wrong designs of links by address."""

from __future__ import annotations

import msgspec
from link_peer.domain.model import Claim, Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.scopes import instances
from link_peer.planning import claims
from link_peer.planning import evaluate as verdicts
from link_peer.planning.decision import DesiredLink, Verdict

from tests.simulation.mutants.designs import Patch


def ended_links_are_joined(patch: Patch) -> None:
    """A link that stood once is joined, whatever has become of it."""
    followed = claims.followed
    known: dict[tuple[Link, Claim], None] = {}

    def with_memory(snapshot: Snapshot, policy: Policy, region: str, *_taken: object) -> list[DesiredLink]:
        found = followed(snapshot, policy, region)
        known.update({(one.link, one.claim): None for one in found})
        return [*found, *(DesiredLink(link, claim) for link, claim in known)]

    patch.setattr(claims, "followed", with_memory)
    patch.setattr(instances, "followed", with_memory)


def once_a_member(patch: Patch) -> None:
    """An instance that has left the source of a link stays admitted."""
    evaluate = verdicts._evaluate_part

    def part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
        shown = snapshot.instances.get(link.asker)
        if shown:
            stays = msgspec.structs.replace(shown, groups=(*shown.groups, link.source.id))
            snapshot = msgspec.structs.replace(snapshot, instances={**snapshot.instances, link.asker: stays})
        return evaluate(snapshot, policy, link, now)

    patch.setattr(verdicts, "_evaluate_part", part)


def any_group_of_the_instance(patch: Patch) -> None:
    """Consent to any group of an instance is consent to its link, whatever group the link is of."""
    evaluate = verdicts._evaluate_part

    def part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
        shown = snapshot.instances.get(link.asker)
        for name in shown.groups if shown else ():
            source = Party(link.source.account, name)
            groups = {**snapshot.groups, source: snapshot.groups[link.source]}
            seen = msgspec.structs.replace(snapshot, groups=groups)
            verdict = evaluate(seen, policy, msgspec.structs.replace(link, source=source), now)
            if verdict.denial is None or verdict.open_questions:
                needs = tuple(msgspec.structs.replace(need, ends=(link.asker, link.source)) for need in verdict.needs)
                return msgspec.structs.replace(verdict, link=link, needs=needs)
        return evaluate(snapshot, policy, link, now)

    patch.setattr(verdicts, "_evaluate_part", part)
