"""Second act: two accounts. Asked on the queue, denied for want of consent, consented as advised, applied, unlinked."""

from __future__ import annotations

import time
from typing import Literal

from link_peer.alicloud.mns import MnsQueue
from link_peer.domain.model import Link, Party
from link_peer.inbound.requests import Request, encode

from link_peer_cli.clients.log import Record
from link_peer_cli.demo.stage import PORT, Stage

REQUEST_SECONDS = 3600


def play(stage: Stage) -> None:
    """Leaves the groups orders (home) and ledger (peer), with their instances, and no rules of ours."""
    home, peer = stage.home, stage.peer
    stage.act("2  Two accounts: both sides, or neither")
    orders, ledger = stage.group(home, "orders"), stage.group(peer, "ledger")
    stage.launch(home, "orders-1", orders)
    stage.launch(peer, "ledger-1", ledger)
    before = stage.reach("orders-1", "ledger-1")
    stage.check("neither reaches the other", set(before.values()), {"-"})
    pair = Link(Party(home, orders), Party(peer, ledger))

    stage.say(f"\norders, of account {home}, asks on the queue for a mutual link with ledger, of account {peer}:")
    denied = _ask(stage, "demo-1", "link", pair)
    stage.check("the link is denied", (denied["outcome"], denied["reason"]), ("denied", "no-consent"))
    stage.check("neither group holds a rule", (stage.rules(home, orders), stage.rules(peer, ledger)), ([], []))

    stage.say("\nThe owners of both groups do as the advice says, and orders asks again:")
    for advised in denied["advice"].split("; "):
        _obey(stage, advised)
    applied = _ask(stage, "demo-2", "link", pair)
    stage.check("the link is applied", applied["outcome"], "applied")
    stage.show_rules((home, orders), (peer, ledger))
    stage.check("both sides hold their rule", (stage.rules(home, orders), stage.rules(peer, ledger)), _RULES)
    after = stage.reach("orders-1", "ledger-1")
    stage.check("each reaches the other", set(after.values()), {f"ping {PORT}"})

    stage.say("\nThe link is not needed any more:")
    removed = _ask(stage, "demo-3", "unlink", pair)
    stage.check("the link is removed", removed["outcome"], "removed")
    stage.check("neither group holds a rule", (stage.rules(home, orders), stage.rules(peer, ledger)), ([], []))


_RULES = (["ledger all"], ["orders all"])


def _ask(stage: Stage, request_id: str, action: Literal["link", "unlink"], pair: Link) -> Record:
    """Posts a request and waits for what cross_account says of it."""
    expires = time.time() + REQUEST_SECONDS
    request = Request(request_id, action, stage.settings.region, pair, expires, requested_by="demo")
    body = encode(request)
    stage.say(f"  queue: {body.decode()}")
    MnsQueue(stage.settings, stage.home).post(body)
    record = stage.outcome(request_id=request_id)
    stage.tell(record)
    return record


def _obey(stage: Stage, advised: str) -> None:
    """`tag sg-…@<uid> link-accept=<entry>`, done by that account's administrator."""
    _, party, assignment = advised.split(" ")
    group, _, account = party.partition("@")
    tag, _, value = assignment.partition("=")
    stage.say(f"  {stage.names[group]} is tagged {tag}={value}")
    stage.ecs[account].tag("securitygroup", group, **{tag: value})
