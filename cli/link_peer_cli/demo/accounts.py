"""Second act: a mutual link between two accounts, requested through the queue."""

from __future__ import annotations

from typing import Literal

from link_peer.domain.model import Link, Party
from link_peer.domain.request import Request
from link_peer.inbound.requests import encode
from link_peer.runtime.ports import Record

from link_peer_cli.consent.entries import advised
from link_peer_cli.demo.stage import PORT, Stage
from link_peer_cli.deployed.queue import post

REQUEST_SECONDS = 3600
BOTH_RULES = (["ledger all"], ["orders all"])


def play(stage: Stage) -> None:
    """Leaves the groups orders (home) and ledger (peer) with their instances, and no link-peer rules."""
    home, peer, narrator = stage.home, stage.peer, stage.narrator
    narrator.heading("2  Two accounts: rules on both sides, or on neither")
    orders, ledger = stage.group(home, "orders"), stage.group(peer, "ledger")
    stage.launch(home, "orders-1", orders)
    stage.launch(peer, "ledger-1", ledger)
    before = stage.reach("orders-1", "ledger-1")
    narrator.check("neither instance reaches the other", set(before.values()), {"-"})
    link = Link(Party(home, orders), Party(peer, ledger))

    narrator.say(f"\norders, in account {home}, requests a mutual link with ledger, in account {peer}:")
    denied = _request(stage, "demo-1", "link", link)
    narrator.check("the link is denied", (denied["outcome"], denied["reason"]), ("denied", "no-consent"))
    narrator.check("neither group has a rule", (stage.rules(home, orders), stage.rules(peer, ledger)), ([], []))

    narrator.say("\nThe owners of both groups follow the advice, and orders sends the request again:")
    _follow_advice(stage, denied["advice"])
    applied = _request(stage, "demo-2", "link", link)
    narrator.check("the link is applied", applied["outcome"], "applied")
    stage.show_rules((home, orders), (peer, ledger))
    narrator.check("both groups have their rule", (stage.rules(home, orders), stage.rules(peer, ledger)), BOTH_RULES)
    after = stage.reach("orders-1", "ledger-1")
    narrator.check("each instance reaches the other", set(after.values()), {f"ping {PORT}"})

    narrator.say("\nThe link is no longer needed:")
    removed = _request(stage, "demo-3", "unlink", link)
    narrator.check("the link is removed", removed["outcome"], "removed")
    narrator.check("neither group has a rule", (stage.rules(home, orders), stage.rules(peer, ledger)), ([], []))


def _request(stage: Stage, request_id: str, action: Literal["link", "unlink"], link: Link) -> Record:
    """Put a request on the queue and wait for the outcome that cross_account records."""
    expires = stage.clock.now() + REQUEST_SECONDS
    request = Request(request_id, action, stage.settings.region, link, expires, requested_by="demo")
    stage.narrator.say(f"  queue: {encode(request).decode()}")
    post(stage.settings, stage.home, request)
    record = stage.outcome(request_id=request_id)
    stage.narrator.show_record(record)
    return record


def _follow_advice(stage: Stage, advice: str) -> None:
    """Set the tag that the advice names for each group, with the keys of its account."""
    for group, entry in advised(advice, stage.home):
        stage.narrator.say(f"  {stage.narrator.names[group.id]} is tagged link-accept={entry}")
        stage.ecs[group.account].tag("securitygroup", group.id, **{"link-accept": entry})
