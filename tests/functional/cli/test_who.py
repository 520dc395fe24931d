"""`link-peer who`: every source that can reach a party, whoever made the rule."""

from __future__ import annotations

from typing import Any

from tests.functional.command import Cli, linked_by_request, person
from tests.functional.lab import HOME, MANAGED, PEER, Lab


def rows(cli: Cli, *args: str, code: int = 0) -> dict[str, Any]:
    """The answer, by source."""
    ended, sources = cli.json("who", *args)
    assert ended == code, cli.err
    return {source["from"]: source for source in sources}


def test_rules_of_link_peer_and_of_people_are_listed_with_ranges_and_members(lab: Lab, cli: Cli) -> None:
    """Also after Terraform took the managed tag off. An instance is reached through all of its groups."""
    app, db, _, b = linked_by_request(lab)
    other_group = lab.group(name="other")
    lab.instance(db), lab.instance(other_group)
    persons_rule = person(lab, db, PortRange="22/22", SourceCidrIp="10.0.0.0/8", Description="ops")
    group_rule = person(lab, db, other_group, IpProtocol="ALL", PortRange="-1/-1")
    lab.tag(db, **{MANAGED.replace("-", "_"): None})
    sources = rows(cli, "ledger-1")
    assert sources == {**rows(cli, db.id), **sources}
    assert {source: (row["ports"], row["state"], row["by"]) for source, row in sources.items()} == {
        app.id: ("tcp/3306", "open", "link-peer"),
        "10.0.0.0/8": ("tcp/22", "open", "a person"),
        other_group.id: ("all", "open", "a person"),
        db.id: ("all", "open", "members"),
    }
    ours, people = sources[app.id], sources["10.0.0.0/8"]
    (link,) = cli.json("links")[1]
    fields = ("state", "since", "until", "claims", "asked_by", "consent", "consented_by")
    assert [ours[name] for name in fields] == [link[name] for name in fields]
    assert (ours["from_name"], ours["to"], ours["to_name"], ours["instances"]) == ("app", b.id, "ledger-1", 1)
    assert (people["rule_id"], people["description"], people["instances"]) == (persons_rule, "ops", None)
    assert (sources[other_group.id]["rule_id"], sources[db.id]["rule_id"], sources[db.id]["instances"]) == (
        group_rule,
        "",
        1,
    )
    assert rows(cli, db.id, "--port", "tcp/22").keys() == {"10.0.0.0/8", other_group.id, db.id}


def test_every_holder_of_an_address_is_listed_in_whichever_vpc(lab: Lab, cli: Cli) -> None:
    """Where a route joins the VPCs, the rule admits each: `explain` calls both open, and so does `who`."""
    vpcs = [lab.cloud.ecs.create_vpc(HOME, "10.9.9.0/24").id for _ in range(2)]
    db = lab.group(vpc=vpcs[0])
    lab.instance(db)
    near, far = (lab.instance(lab.group(vpc=vpc), private_ip="10.9.9.9") for vpc in vpcs)
    person(lab, db, PortRange="22/22", SourceCidrIp="10.9.9.9/32")
    sources = rows(cli, db.id, "--port", "tcp/22")
    for holder in (near, far):
        _, [explanation] = cli.json("explain", holder.id, db.id, "tcp/22")
        row = sources[holder.id]
        assert (row["state"], row["address"], row["instances"]) == (explanation["state"], "10.9.9.9/32", 1)
        assert row["state"] == "open"


def test_what_cannot_be_read_is_unknown(lab: Lab, cli: Cli) -> None:
    """The instances of a group in a hidden account; and where a call fails, the party's own rules."""
    app, db = lab.group(account=PEER), lab.group()
    lab.instance(db)
    person(lab, db, app)
    lab.policy_account(PEER, external_id="not-what-they-agreed-on")
    sources = rows(cli, db.id, code=1)
    assert (sources[app.id]["state"], sources[app.id]["state_detail"]) == ("unknown", f"{app.id}@{PEER} was not read")
    lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", code="Forbidden.RAM", status=403, times=None)
    sources = rows(cli, db.id, code=1)
    assert (sources[""]["state"], sources[""]["by"]) == ("unknown", "")
