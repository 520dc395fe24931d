"""Links and rules as `explain` and `links` show them, to people and to programs."""

from __future__ import annotations

from typing import Any

from link_peer.domain.model import Party, Rule, ports_text
from link_peer.domain.tags import iso
from link_peer.planning.reach import Reach
from link_peer.planning.scene import Scene
from link_peer.planning.standing import Standing, admitted
from link_peer.planning.state import State

from link_peer_cli.audit.askers import Asked

DAY = 86400


def link_document(scene: Scene, link: Standing, found: Reach, state: State, asked: Asked) -> dict[str, Any]:
    """A link that stands, as JSON. Instants are RFC 3339; a link without an end has an empty `until`."""
    count = admitted(scene, link)
    return {
        **party_fields(scene, "from", link.source),
        **party_fields(scene, "to", link.target),
        "ports": link.ports_text,
        "since": iso(link.since) if link.since is not None else "",
        "until": iso(link.until) if link.until is not None else "",
        "why": [claim.request or "tag" for claim in link.claims],
        "asked_by": asked_by(scene, link, asked),
        "reasons": [reason for request in link.requests if (reason := asked.why(request))],
        "consent": list(link.consent),
        "consent_until": iso(link.consent_until) if link.consent_until is not None else "",
        "instances": count,
        "state": state.word,
        "state_detail": state.why,
        "effect": found.effect.word,
        "effect_detail": found.detail,
        "half_open": str(link.half or ""),
        "rules": [{"account": rule.group.account, "group": rule.group.id, "rule_id": rule.id} for rule in link.rules],
    }


def party_fields(scene: Scene, end: str, party: Party) -> dict[str, str]:
    """A party's fields, as records name them, with its name."""
    return {end: party.id, f"{end}_account": party.account, f"{end}_name": scene.name(party)}


def asked_by(scene: Scene, link: Standing, asked: Asked) -> list[str]:
    """Who asked for a link: instances by their tags, and what the log knows of its requests."""
    instances = [scene.titled(party) for party in link.askers]
    return instances + [f"{request}: {who}" for request in link.requests if (who := asked.who(request))]


def age(now: float, since: float | None) -> str:
    """How long ago something was, for people; empty if that is not known."""
    return "" if since is None else span(now - since)


def until(now: float, end: float | None) -> str:
    """When something ends, for people: the instant, and how far it is off."""
    if end is None:
        return "open-ended"
    return f"{iso(end)} (in {span(end - now)})" if end > now else f"{iso(end)} (over)"


def span(seconds: float) -> str:
    """A span of time in its largest unit."""
    seconds = max(0, int(seconds))
    for unit, size in (("d", DAY), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def rule_document(rule: Rule, *, decides: bool) -> dict[str, Any]:
    """A rule of a person, as JSON."""
    traffic = rule.traffic
    return {
        "rule_id": rule.id,
        "account": rule.group.account,
        "group": rule.group.id,
        "direction": traffic.direction if traffic else "",
        "policy": rule.policy,
        "priority": rule.priority,
        "peer": (traffic.peer or "a prefix list") if traffic else "",
        "ports": ports_text([traffic.port]) if traffic and traffic.port else "a port list",
        "created": rule.created,
        "description": rule.description,
        "decides": decides,
    }
