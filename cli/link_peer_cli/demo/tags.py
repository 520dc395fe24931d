"""First act: a tag on an instance opens what the other group consents to, and nothing else."""

from __future__ import annotations

from link_peer_cli.demo.stage import PORT, Stage


def play(stage: Stage) -> None:
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
