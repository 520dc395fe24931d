"""Third act: what no event reports. The sweep restores a deleted rule; withdrawn consent closes at its own event."""

from __future__ import annotations

import json

from link_peer_cli.demo.narrator import CheckFailed
from link_peer_cli.demo.stage import PORT, Stage


def play(stage: Stage) -> None:
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
    summary = stage.log.read("record: summary and function: sweep", stage.started)[-1]
    narrator.check("another sweep changes nothing", (summary["outcome"], summary["changed"]), ("unchanged", "0"))


def _sweep(stage: Stage) -> None:
    """Invoke the deployed sweep, as its timer does every ten minutes."""
    answer = stage.functions.invoke(
        stage.names.functions["sweep"], json.dumps({"triggerName": "demo", "payload": ""}).encode()
    )
    stage.narrator.say(f"  sweep: {answer.body.decode()}")
    if answer.error:
        raise CheckFailed(f"the sweep failed: {answer.error}")
