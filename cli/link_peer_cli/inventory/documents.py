"""The links that stand, as documents: what `links` lists and `map` draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from link_peer.planning.scene import Scene
from link_peer.planning.standing import Standing, judge
from link_peer.planning.state import states

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.askers import Asked
from link_peer_cli.inventory.reading import View
from link_peer_cli.inventory.shown import link_document


def documents_of(env: Environment, view: View, found: Sequence[Standing]) -> tuple[list[dict[str, Any]], str]:
    """Each link as JSON, and why the audit log could not be read, if so."""
    view.deciding((link.source, link.target) for link in found)
    scene, asked = view.scene, Asked()
    if requests := [request for link in found for request in link.requests]:
        since = min(link.since or 0 for link in found if link.requests)
        asked.read(env, requests, since)
    return link_documents(env, scene, found, asked), asked.problem


def link_documents(env: Environment, scene: Scene, found: Sequence[Standing], asked: Asked) -> list[dict[str, Any]]:
    """Each link as JSON, from what was read."""
    now = states(scene, env.policy, env.settings.region, env.clock.now(), found)
    return [
        link_document(scene, link, judge(scene, link), state, asked) for link, state in zip(found, now, strict=True)
    ]
