"""Who can reach a party, by whosever rules, with what is known of the link of each: for `who` and `map`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from link_peer.domain.model import ALL, Party, Port, Rule
from link_peer.views.reach import Scene
from link_peer.views.standing import Standing
from link_peer.views.who import Reaching, sources_reaching
from msgspec import UNSET

from link_peer_cli.answers.links import LinkAnswer, Reacher
from link_peer_cli.inventory.shown import id_account_name

OF_LINK: dict[str, Any] = {"until": "", "claims": [], "asked_by": [], "consent": [], "consented_by": []}
OF_LINK |= dict.fromkeys(("use", "last_used"), UNSET)
"""What is said of links alone."""


def by_rule(links: Sequence[Standing], answers: Sequence[LinkAnswer]) -> dict[Rule, LinkAnswer]:
    """What is said of the link of each rule."""
    return {rule: answer for link, answer in zip(links, answers, strict=True) for rule in link.rules}


def reachers(
    scene: Scene,
    party: Party,
    links: Mapping[Rule, LinkAnswer],
    ports: Sequence[Port] = (),
    *,
    members: bool = True,
) -> list[Reacher]:
    """Every source that can reach the party on any of these ports; without ports, on any. `links` are those of its
    rules; `members` as for `who`."""
    unread_sources = [  # of one that was released
        Reaching(Party(link.from_account, link.source), "", rule.group, rule, "unknown", f"{party} was not read")
        for rule, link in (() if scene.groups(party) else links.items())
        if (link.to_account, link.target) == (party.account, party.id)
    ]
    sources = unread_sources or sources_reaching(scene, party, ports, members=members)
    return [_answer(scene, party, source, links.get(source.rule) if source.rule else None) for source in sources]


def _answer(scene: Scene, party: Party, reaching: Reaching, link: LinkAnswer | None) -> Reacher:
    source, rule = (
        id_account_name(scene, reaching.source) if reaching.source else (reaching.address, "", ""),
        reaching.rule,
    )
    traffic = rule and (rule.traffic or rule.ipv6)
    port = traffic.port if traffic else ALL if reaching.source else None
    # a link that goes, or lacks a half, is called so; where its instance is hidden, more is known of it than of its
    # address
    states = ("closing", "half-open", *(() if reaching.source else ("unknown",)))
    stands = link if link and link.state in states else None
    return Reacher(
        *source,
        *id_account_name(scene, party),
        address=reaching.address,
        ports=str(port or ""),
        state=stands.state if stands else reaching.state,
        state_detail=stands.state_detail if stands else reaching.reason,
        by="link-peer" if link else "a person" if rule else "members" if reaching.source else "",
        rule_id=rule.id if rule else "",
        group=reaching.group.id,
        instances=reaching.instances,
        since=rule.created if rule else "",
        description=rule.description if rule and not link else "",
        **{name: getattr(link, name) if link else empty for name, empty in OF_LINK.items()},
    )
