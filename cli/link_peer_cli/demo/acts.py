"""The acts of the demo: a tag, a mutual link of two accounts, what no event reports, and the audit log of it all."""

from __future__ import annotations

import json
from typing import Literal

from link_peer.domain.model import Link, Party
from link_peer.domain.request import Request
from link_peer.inbound.requests import encode
from link_peer.runtime.ports import Record

from link_peer_cli.consent.entries import advised
from link_peer_cli.demo.stage import PORT, CheckFailed, Stage
from link_peer_cli.deployed.queue import post
from link_peer_cli.ui.tables import draw_table


def tags(stage: Stage) -> None:
    """Use one account. Leaves the groups app, db and cache with their instances, and no link-peer rules."""
    home, ecs, narrator = stage.home, stage.ecs[stage.home], stage.narrator
    narrator.heading("1  A tag on an instance becomes security-group rules")
    app, db, cache = (stage.group(home, name) for name in ("app", "db", "cache"))
    stage.launch(home, "app-1", app)
    stage.launch(home, "db-1", db)
    stage.launch(home, "cache-1", cache)
    before = stage.reach("app-1", "db-1", "cache-1")
    narrator.check("no instance reaches another", set(before.values()), {"-"})

    accept = f"{app}:tcp/{PORT}+icmp"
    narrator.say(f"\nThe owner of db consents with a tag on the group: link-accept={accept}")
    ecs.tag("securitygroup", db, link_accept=accept)
    peers = f"{db}:tcp/{PORT}+icmp {cache}:tcp/6379"
    narrator.say(f"A second app instance is launched with the tag link-peer={peers}")
    app_2 = stage.launch(home, "app-2", app, link_peer=peers)
    narrator.say("ECS sends an event to EventBridge, which invokes auto_link. It reads the tags and adds the rules:")
    stage.wait_for_functions()
    # later deliveries, of the events about the groups' tags, find it done
    narrator.show_record(stage.outcome(from_=app, to=db, outcome="applied"))
    stage.show_rules((home, db))
    narrator.check(
        "db accepts app on the ports that both tags name", stage.rules(home, db), ["app icmp", f"app tcp/{PORT}"]
    )
    after = stage.reach("app-1", "app-2", "db-1", "cache-1")
    narrator.check("app-2 reaches db-1", after["app-2", "db-1"], f"ping {PORT}")
    narrator.check("app-1, in the same group, reaches db-1 too", after["app-1", "db-1"], f"ping {PORT}")
    narrator.check("db-1 does not reach app-2: a link with ports is one-way", after["db-1", "app-2"], "-")

    narrator.say("\nThe tag also names cache, which has not consented to anything:")
    denied = stage.outcome(from_=app, to=cache)
    narrator.show_record(denied)
    narrator.check("the link to cache is denied", (denied["outcome"], denied["reason"]), ("denied", "no-consent"))
    tag, command = f"tag {cache}@{home} link-accept={app}:tcp/6379", f"link-peer accept {cache}@{home} {app}:tcp/6379"
    narrator.check("the advice is the tag to set, and the command", denied["advice"], f"{tag}: {command}")
    narrator.check("cache has no rules", stage.rules(home, cache), [])

    narrator.say("\nThe tag is removed from app-2:")
    ecs.untag("instance", app_2.id, "link-peer")
    stage.wait_for_functions()
    narrator.show_record(stage.outcome(from_=app, to=db, outcome="removed"))
    narrator.check("db has no rules any more", stage.rules(home, db), [])
    again = stage.reach("app-2", "db-1")
    narrator.check("app-2 does not reach db-1", again["app-2", "db-1"], "-")


REQUEST_SECONDS = 3600
BOTH_RULES = (["ledger all"], ["orders all"])


def two_accounts(stage: Stage) -> None:
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
    for group, entry, is_egress in advised(advice, stage.home):
        key = "link-egress" if is_egress else "link-accept"
        stage.narrator.say(f"  {stage.narrator.names[group.id]} is tagged {key}={entry}")
        stage.ecs[group.account].tag("securitygroup", group.id, **{key: entry})


def sweep(stage: Stage) -> None:
    """Leaves the groups web and search with their instances, and no link-peer rules."""
    home, ecs, narrator = stage.home, stage.ecs[stage.home], stage.narrator
    narrator.heading("3  The sweep corrects drift")
    web, search = stage.group(home, "web"), stage.group(home, "search")
    ecs.tag("securitygroup", search, link_accept=f"{web}:tcp/{PORT}")
    stage.launch(home, "search-1", search)
    stage.launch(home, "web-1", web, link_peer=f"{search}:tcp/{PORT}")
    stage.wait_for_functions()
    narrator.check("web is linked to search", stage.rules(home, search), [f"web tcp/{PORT}"])

    narrator.say("\nSomeone deletes the rule. No event reports it, but the next sweep finds out:")
    [rule] = ecs.rules(search)
    ecs.ask("revoke_security_group", security_group_id=search, security_group_rule_id=[rule.security_group_rule_id])
    narrator.check("the rule is deleted", stage.rules(home, search), [])
    _sweep(stage)
    narrator.show_record(stage.outcome(function="sweep", from_=web, to=search))
    narrator.check("the rule is back", stage.rules(home, search), [f"web tcp/{PORT}"])

    narrator.say("\nThe owner of search withdraws consent, while the tag on web-1 still asks for the link:")
    narrator.say("ECS reports the change of the group's tags, and auto_link closes the link at once:")
    ecs.untag("securitygroup", search, "link-accept")
    stage.wait_for_functions()
    removed = stage.outcome(function="auto_link", from_=web, to=search, outcome="removed")
    narrator.show_record(removed)
    narrator.check("it was removed for lack of consent", removed["reason"], "no-consent")
    narrator.check("search has no rules any more", stage.rules(home, search), [])
    narrator.check("web-1 does not reach search-1", stage.reach("web-1", "search-1")["web-1", "search-1"], "-")

    _sweep(stage)
    summary = stage.log.read("record: summary and function: sweep and scope: account", stage.started)[-1]
    narrator.check("another sweep changes nothing", (summary["outcome"], summary["changed"]), ("unchanged", "0"))


def _sweep(stage: Stage) -> None:
    """Invoke the deployed sweep, as its timer does every ten minutes."""
    event = json.dumps({"triggerName": "demo", "payload": ""})
    answer = stage.functions.invoke(stage.names.functions["sweep"], event.encode())
    stage.narrator.say(f"  sweep: {answer.body.decode()}")
    if answer.error:
        raise CheckFailed(f"the sweep failed: {answer.error}")
    stage.wait_for_functions()  # one message for each account


FIELDS = ("time", "function", "action", "outcome", "reason", "from", "to", "ports", "detail")


def audit_log(stage: Stage) -> None:
    """Print every outcome since the demo started."""
    narrator = stage.narrator
    narrator.heading("4  The audit log recorded every decision")
    records = stage.log.read("record: outcome", stage.started)
    rows = [[narrator.short(record.get(name, "")) for name in FIELDS] for record in records]
    draw_table(narrator.out, "audit log (outcomes)", FIELDS, rows)
    outcomes = {record["outcome"] for record in records}
    narrator.check("it has applied, denied and removed links", outcomes >= {"applied", "denied", "removed"}, True)


ACTS = (tags, two_accounts, sweep, audit_log)
"""In the order in which they are played."""
