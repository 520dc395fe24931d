"""auto_link: an event adds the rules that the instance's tags ask for, between groups or between the addresses of two instances."""

from __future__ import annotations

import pytest

from tests.functional.lab import Lab


def test_the_rule_has_the_specified_fields(lab: Lab) -> None:
    """Intranet, accept, priority 100, the owner's uid, and a marker whose id matches this rule."""
    app, db = lab.group(), lab.group("*")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/8000-8010"})))

    (rule,) = lab.raw_rules(db)
    assert (rule["NicType"], rule["Policy"], int(rule["Priority"])) == ("intranet", "Accept", 100)
    assert (rule["IpProtocol"], rule["PortRange"]) == ("TCP", "8000/8010")
    assert (rule["SourceGroupId"], rule["SourceCidrIp"], rule["DestCidrIp"]) == (app.id, "", "")
    assert (
        rule["Description"]
        == f"link-peer/2 dep=prod home=1000000000000001 id={lab.rule_id(db, app, 'tcp/8000-8010')} by=tag"
    )


@pytest.mark.parametrize(
    ("event", "looks"),
    [
        ("Created", True),  # newer documents say Created, older ones Pending; Running follows at every start
        ("Pending", True),
        ("Running", True),
        ("Stopping", False),  # a stopped instance keeps its links
        ("Stopped", False),
        ("Starting", False),
        ("Unheard-of", False),
        ("TagResources", True),  # as ActionTrail reports a change of tags: it only says which instance to read
        ("UntagResources", True),
    ],
)
def test_which_events_have_an_instance_looked_at(lab: Lab, event: str, looks: bool) -> None:
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    told = lab.tag_event(instance, event) if event.endswith("Resources") else lab.event(instance, event)
    assert lab.auto_link(told) == ({"applied": 1} if looks else {})
    assert lab.rules(db) == ([f"{app.id} tcp/3306"] if looks else [])
