"""Third act: what events miss. A rule deleted by hand comes back, a withdrawn consent closes."""

from __future__ import annotations

import json

from link_peer_cli.clients.fc import SWEEP
from link_peer_cli.demo.stage import PORT, NotAsExpected, Stage


def play(stage: Stage) -> None:
    """Two groups of its own."""
    home, ecs = stage.home, stage.ecs[stage.home]
    stage.act("3  The sweep: rules stay equal to what is wanted")
    web, search = stage.group(home, "web"), stage.group(home, "search")
    ecs.tag("securitygroup", search, link_accept=f"{web}:tcp/{PORT}")
    stage.launch(home, "search-1", search)
    stage.launch(home, "web-1", web, link_peer=f"{search}:tcp/{PORT}")
    stage.settle()
    stage.check("web is linked to search", stage.rules(home, search), [f"web tcp/{PORT}"])

    stage.say("\nSomebody deletes the rule by hand; no event tells of it, and the sweep's turn comes:")
    [rule] = ecs.rules(search)
    ecs.ask("revoke_security_group", security_group_id=search, security_group_rule_id=[rule.security_group_rule_id])
    stage.check("the rule is gone", stage.rules(home, search), [])
    _sweep(stage)
    stage.tell(stage.outcome(function="sweep", from_=web, to=search))
    stage.check("the rule is back", stage.rules(home, search), [f"web tcp/{PORT}"])

    stage.say("\nThe owner of search withdraws consent; the tag on web-1 still asks:")
    ecs.untag("securitygroup", search, "link-accept")
    _sweep(stage)
    closed = stage.outcome(function="sweep", from_=web, to=search, outcome="removed")
    stage.tell(closed)
    stage.check("it was removed for want of consent", closed["reason"], "no-consent")
    stage.check("search holds no rule any more", stage.rules(home, search), [])
    stage.check("web-1 does not reach search-1", stage.reach("web-1", "search-1")["web-1", "search-1"], "-")

    _sweep(stage)
    summary = stage.log.read("record: summary and function: sweep", stage.started)[-1]
    stage.check("another sweep finds nothing to do", (summary["outcome"], summary["changed"]), ("unchanged", "0"))


def _sweep(stage: Stage) -> None:
    """Invokes the deployed function, as its timer does every ten minutes."""
    answer = stage.functions.invoke(SWEEP, json.dumps({"triggerName": "demo", "payload": ""}).encode())
    stage.say(f"  sweep: {answer.body.decode()}")
    if answer.error:
        raise NotAsExpected(f"the sweep fails: {answer.error}")
