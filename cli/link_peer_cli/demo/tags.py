"""First act: two groups that cannot reach each other, consent, a tag on an instance, and what follows from it."""

from __future__ import annotations

from link_peer_cli.demo.stage import PORT, Stage


def play(stage: Stage) -> None:
    """One account. Leaves the groups app, db and cache, with their instances, and no rules of ours."""
    home, ecs = stage.home, stage.ecs[stage.home]
    stage.act("1  A tag on an instance becomes the right rules")
    app, db, cache = (stage.group(home, name) for name in ("app", "db", "cache"))
    stage.launch(home, "app-1", app)
    stage.launch(home, "db-1", db)
    stage.launch(home, "cache-1", cache)
    before = stage.reach("app-1", "db-1", "cache-1")
    stage.check("nobody reaches anybody", set(before.values()), {"-"})

    accept = f"{app}:tcp/{PORT}+icmp"
    stage.say(f"\nThe owner of db consents, by a tag on the group: link-accept={accept}")
    ecs.tag("securitygroup", db, link_accept=accept)
    peers = f"{db}:tcp/{PORT}+icmp {cache}:tcp/6379"
    stage.say(f"A second app instance is launched with the tag link-peer={peers}")
    app_2 = stage.launch(home, "app-2", app, link_peer=peers)
    stage.say("ECS tells EventBridge, which calls auto_link; it reads the tags, decides, and writes what was agreed:")
    stage.settle()
    stage.tell(stage.outcome(from_=app, to=db))
    stage.show_rules((home, db))
    stage.check("db admits app on what both sides named", stage.rules(home, db), ["app icmp", f"app tcp/{PORT}"])
    after = stage.reach("app-1", "app-2", "db-1", "cache-1")
    stage.check("app-2 reaches db-1", after["app-2", "db-1"], f"ping {PORT}")
    stage.check("so does app-1, which is in the same group", after["app-1", "db-1"], f"ping {PORT}")
    stage.check("db-1 does not reach app-2: the link has ports, so it is one way", after["db-1", "app-2"], "-")

    stage.say("\nThe tag names a second peer, cache, which has consented to nobody:")
    denied = stage.outcome(from_=app, to=cache)
    stage.tell(denied)
    stage.check("the link to cache is denied", (denied["outcome"], denied["reason"]), ("denied", "no-consent"))
    stage.check("the advice is the tag to set", denied["advice"], f"tag {cache}@{home} link-accept={app}:tcp/6379")
    stage.check("cache holds no rule", stage.rules(home, cache), [])

    stage.say("\nThe tag is taken off again:")
    ecs.untag("instance", app_2.id, "link-peer")
    stage.settle()
    stage.tell(stage.outcome(from_=app, to=db, outcome="removed"))
    stage.check("db holds no rule any more", stage.rules(home, db), [])
    again = stage.reach("app-2", "db-1")
    stage.check("app-2 does not reach db-1", again["app-2", "db-1"], "-")
