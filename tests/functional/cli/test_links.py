"""`link-peer links` lists the links that exist: who, since, until, why, who asked, which consent, and whether packets
pass."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_local.api import Group, Ports
from link_peer_cli.demo.world import shipped_roles
from link_peer_cli.inventory import flow_log

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab
from tests.functional.traffic import Traffic


def linked(lab: Lab) -> tuple[Group, Group, Group]:
    """orders-1 of app asks by tag for db, until February; app and ledger, of the other account, are linked until
    January."""
    app, db = lab.group(name="app"), lab.group("*~20270301T000000Z", name="db")
    ledger = lab.group(f"*@{HOME}", account=PEER)
    lab.instance(db)
    tags = {"link-peer": f"{db.id}:tcp/3306+icmp", "link-until": "2027-02-01T00:00:00Z"}
    lab.auto_link(lab.event(lab.instance(app, name="orders-1", tags=tags)))
    until = "2027-01-01T00:00:00Z"
    lab.cross_account(lab.request(app, ledger, "tcp/443", until=until, requested_by="team-orders", reason="audits"))
    return app, db, ledger


def listed_links(cli: Cli, *args: str) -> list[dict[str, Any]]:
    code, documents = cli.json("links", *args)
    assert code == 0
    return documents


def test_every_link_is_listed_with_all_that_explains_it(lab: Lab, cli: Cli) -> None:
    """People's rules are no links."""
    app, db, ledger = linked(lab)
    lab.authorize(lab.group(), IpProtocol="TCP", PortRange="22/22", SourceCidrIp="10.0.0.0/8")
    listed = {link["to"]: link for link in listed_links(cli)}
    assert listed.keys() == {db.id, ledger.id}
    tagged, requested = listed[db.id], listed[ledger.id]
    (instance,) = tagged["asked_by"]
    assert (tagged["from"], tagged["from_name"], tagged["to_name"]) == (app.id, "app", "db")
    assert instance.endswith(" (orders-1)")
    assert (tagged["ports"], tagged["claims"], tagged["instances"]) == ("icmp+tcp/3306", ["tag"], 1)
    assert (tagged["since"], tagged["until"]) == ("2026-11-25T00:00:00Z", "2027-02-01T00:00:00Z")  # before the consent
    assert tagged["consent"] == [f"{db.id}@{HOME} link-accept=*~20270301T000000Z"]
    assert tagged["state"] == "open"
    assert len(tagged["rules"]) == 2
    assert (requested["from_account"], requested["to_account"], requested["ports"]) == (HOME, PEER, "tcp/443")
    assert (requested["claims"], requested["until"], requested["reasons"]) == (
        ["chg-1"],
        "2027-01-01T00:00:00Z",
        ["audits"],
    )
    assert requested["asked_by"] == ["chg-1: team-orders through link-peer-requests"]


def test_a_mutual_link_is_one_link(lab: Lab, cli: Cli) -> None:
    """With both of its rules, both consents, and the instances of both groups. Half of it is shown as such."""
    app, db = lab.group("*"), lab.group("*")
    lab.instance(app), lab.instance(db), lab.instance(db)
    lab.cross_account(lab.request(app, db))
    (link,) = listed_links(cli)
    assert {link["from"], link["to"]} == {app.id, db.id}
    assert (link["ports"], link["instances"], len(link["rules"]), len(link["consent"])) == ("mutual", 3, 2, 2)
    assert listed_links(cli, "--port", "udp/53") == [link]
    assert link["state"] == "open"
    lab.revoke(app)
    (link,) = listed_links(cli)
    assert (link["state"], link["state_detail"]) == ("half-open", f"{app.id}@{HOME} has no rule")


# filters


FILTERED = [
    *((f"--expiring {within}", n) for within, n in (("1d", 0), ("36d", 0), ("37d", 1), ("67d", 1), ("68d", 2))),
    *((f"--account {account}", n) for account, n in ((HOME, 2), (PEER, 1), ("b@aliyun.com", 1))),
    *(
        (f"--port {ports}", n)
        for ports, n in (("icmp", 1), ("tcp/443+udp/53", 1), ("icmp+tcp/443", 2), ("udp/3306", 0))
    ),
    *((f"--state {word}", n) for word, n in (("open", 2), ("blocked", 0), ("closing --state open", 2))),
    *((spelling, 0) for spelling in ("--open-ended", "--expiring never")),
    (f"--account {PEER} --port icmp", 0),
]


def test_filters(lab: Lab, cli: Cli) -> None:
    """On 25 November, the request's link ends in 37 days, the tag's in 68. An account is on either side, and any of
    several ports counts."""
    linked(lab)
    assert [(args, len(listed_links(cli, *args.split()))) for args, _ in FILTERED] == FILTERED


def test_party_lists_the_links_of_a_group_or_an_instance(lab: Lab, cli: Cli) -> None:
    """An instance's are those of its groups too. It may be given by its name."""
    app, db, ledger = linked(lab)
    other_instance = lab.instance(lab.group())
    for party, expected in (
        (app.id, {db.id, ledger.id}),
        (db.id, {db.id}),
        (f"{ledger.id}@b@aliyun.com", {ledger.id}),
        ("orders-1", {db.id, ledger.id}),
        (other_instance.id, set()),
    ):
        assert {link["to"] for link in listed_links(cli, "--party", party)} == expected
    assert (cli("links", "--party", "sg-nowhere"), "--party" in cli.err) == (2, True)


def test_open_ended_lists_links_that_need_not_end(lab: Lab, cli: Cli) -> None:
    """Not those that the next sweep closes, which end now."""
    app, *_ = linked(lab)
    cache = lab.group("*")
    lab.cross_account(lab.request(app, cache, "tcp/1", request_id="chg-2"))
    assert [link["to"] for link in listed_links(cli, "--open-ended")] == [cache.id]
    lab.tag(cache, link_accept=None)
    assert listed_links(cli, "--open-ended") == []
    assert [(link["to"], link["consent"]) for link in listed_links(cli, "--expiring", "1h")] == [(cache.id, [])]


# forms


def test_csv_has_every_field_and_starts_no_formula(lab: Lab, cli: Cli) -> None:
    """A name that somebody chose is text in a spreadsheet."""
    app, db = lab.group(name="=HYPERLINK(1)"), lab.group("*", name="a,b")
    lab.cross_account(lab.request(app, db, "tcp/1", reason="+1"))
    assert cli("links", "-o", "csv") == 0
    (row,) = csv.DictReader(io.StringIO(cli.out))
    assert (row["from"], row["from_name"], row["to_name"]) == (app.id, "'=HYPERLINK(1)", "a,b")
    assert (row["claims"], row["reasons"]) == ("chg-1", "'+1")
    (document,) = listed_links(cli)
    assert row.keys() == document.keys() | {
        "use",
        "use_detail",
        "last_used",
        "narrow",
    }  # where an account has a flow log
    assert document["from_name"] == "=HYPERLINK(1)"


# trouble


def test_without_the_audit_log_who_asked_is_not_known(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else is."""
    linked(lab)
    monkeypatch.setenv("LINK_PEER_AUDIT_LOGSTORE", "nowhere")
    code, documents = cli.json("links")
    assert (code, len(documents)) == (0, 2)
    assert "who asked is not known" in cli.err


def test_who_asked_is_read_for_many_requests(lab: Lab, cli: Cli) -> None:
    """More than one query takes."""
    app = lab.group()
    for number in range(25):
        db = lab.group("*")
        lab.cross_account(lab.request(app, db, "tcp/1", request_id=f"chg-{number}", requested_by=f"team-{number}"))
    listed = listed_links(cli)
    assert len(listed) == 25
    assert all(link["asked_by"][0].startswith(f"{link['claims'][0]}: team-") for link in listed)


@pytest.mark.parametrize("command", [("links",), ("map", "--json"), ("sweep", "--dry-run", "--json")])
def test_reading_all_rules_leaves_calls_to_events(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Where the account's limit is known, at most half of its calls in a minute are made, and the rest in the next
    ones."""
    app = lab.group()
    groups = [lab.group(f"{app.id}:tcp/1") for _ in range(12)]
    for start in (0, 6):
        lab.instance(app, tags={"link-peer": " ".join(f"{group.id}:tcp/1" for group in groups[start : start + 6])})
    lab.sweep()
    lab.cloud.faults.calls.clear()
    monkeypatch.setenv("LINK_PEER_CALLS_PER_MINUTE", "20")
    assert cli(*command) == 0
    assert all(group.id in cli.out for group in groups) or command[0] == "sweep"  # which has nothing to change
    minutes = [call.started // 60 for call in lab.cloud.faults.calls if call.action == "DescribeSecurityGroupAttribute"]
    assert len(minutes) >= 12
    assert max(Counter(minutes).values()) == 10


def test_who_consented_is_told_by_the_record_of_the_tags_event(lab: Lab, cli: Cli) -> None:
    """`explain` asks ActionTrail, too. A tag of which no record tells, or another that was set since, has no author."""
    app, db = lab.group(), lab.group()
    for key, value in (("link-accept", "*"), ("link-accept.2", "sg-x")):
        lab.tag(db, **{key: value})
        event = lab.group_event(db)
        event["data"] |= lab.cloud.trail.newest(HOME)
        lab.auto_link(event)
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    root = f"acs:ram::{HOME}:root"
    for command, parameters in (
        (("links",), "as the event says"),
        (("explain", app.id, db.id), "proven"),
    ):
        answer = cli.json(*command)[1][0]
        link = answer["links"][0] if "links" in answer else answer
        assert (link["consent"], link["consented_by"]) == (
            [f"{db.id}@{HOME} link-accept=*"],
            [f"{root} ({parameters})"],
        )
    origin = {"ResourceType": "securitygroup", "ResourceId.1": db.id, "Tag.1.Key": "link-accept", "Tag.1.Value": "*"}
    for group, value in ((db, "sg-y"), (lab.group(), "*")):  # another value, and another group, in calls that were made
        lab.tag(group, link_accept=value)
        call = {**lab.cloud.trail.newest(HOME), "requestParameters": origin}
        lab.tag(db, link_accept="*")
        lab.cloud.clock.advance(1)
        lab.auto_link({**event, "data": {**event["data"], **call}})
        assert "as the event says" in str(cli.json("explain", app.id, db.id)[1])
    event["data"] |= {"requestParameters": {**origin, "Tag.1.Value": "sg-y"}}
    lab.auto_link(event)
    assert cli.json("links")[1][0]["consented_by"] == ["unknown"]


def test_what_stood_at_an_instant_is_told_by_the_log(lab: Lab, cli: Cli) -> None:
    """At each of several instants, what `links` said then: links of tags and requests, one of two claims that went, a
    mutual link of two accounts, a lock, an end."""
    app, db, cache = lab.group(), lab.group("*"), lab.group("*")
    ours, theirs = lab.pair()
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})

    def steps() -> Iterator[object]:
        yield lab.cross_account(lab.request(app, db, "tcp/1", "tcp/2"))
        yield lab.cross_account(lab.request(app, db, "tcp/2", "tcp/3", request_id="chg-2", until=lab.iso(600)))
        yield lab.cross_account(lab.request(ours, theirs, request_id="chg-3"))
        yield lab.cross_account(lab.request(app, cache, "tcp/9", request_id="chg-4"))
        yield lab.cross_account(lab.request(app, db, action="unlink", request_id="chg-5"))
        yield lab.cross_account(lab.request(app, cache, "tcp/8", request_id="chg-6", until=lab.iso(60)))
        yield lab.retag(instance, link_peer=f"{cache.id}:tcp/7")
        yield cli("close", cache.id, "--yes")
        yield lab.sweep()

    past_links = []
    for _ in steps():
        lab.cloud.clock.sleep(60)
        past_links.append((lab.iso(-30), _links(cli)))
    assert len({str(links) for _, links in past_links}) >= 7
    assert [(at, _links(cli, "--at", at)) for at, _ in past_links] == past_links
    assert _links(cli, "--at", "300d") == []
    assert "the log begins at 2026-" in cli.err


def test_a_link_of_the_log_is_closing_from_its_end_on(lab: Lab, cli: Cli) -> None:
    """Its rules are there until the next sweep."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app), lab.instance(db)
    lab.cross_account(lab.request(app, db, "tcp/1", until=(end := lab.iso(600))))
    before = lab.iso(599)
    lab.cloud.clock.advance(900)
    past_links = [cli.json("links", "--at", moment)[1][0] for moment in (before, end)]
    assert [link["state"] for link in past_links] == ["open", "closing"]
    assert past_links[1]["state_detail"] == f"it ended at {end}"


def _links(cli: Cli, *options: str) -> list[tuple[object, ...]]:
    """Each link: its ends, ports, claims and rules."""
    _, links = cli.json("links", *options)
    return sorted(
        (
            *sorted((link["from"], link["to"])),
            link["ports"],
            link["claims"],
            sorted(rule["rule_id"] for rule in link["rules"]),
        )
        for link in links
    )


@pytest.mark.knobs(request_tags=True)
def test_flow_logs_say_which_links_were_used(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each account that the policy file gives a flow log, with one query: in `links`, in `who`, and `--unused` lists
    what certainly was not. What an account lets nobody read is unknown, as is what its log cuts off, and nothing is
    said without flow logs."""
    app, db, cache = lab.group(), lab.group("*"), lab.group("*")
    ledger, audit = (lab.group(f"*@{HOME}", account=PEER) for _ in range(2))
    ips = {group.id: lab.instance(group) for group in (app, db, cache, ledger, audit)}
    for number, (target, ports) in enumerate(((db, "tcp/1-3"), (cache, "tcp/2"), (ledger, "tcp/4"), (audit, "udp/5"))):
        lab.cross_account(lab.request(app, target, ports, request_id=f"chg-{number}"))
    assert not any("use" in link for link in listed_links(cli))
    assert cli("links", "--unused", "7d") == 2
    traffic = Traffic(lab, 7)
    for target, port in ((db, Ports(1)), (audit, Ports(5, 17))):
        traffic.connect(ips[app.id], ips[target.id], port, [6])
    traffic.write(roles=False)
    assert all("was not read: refused: " in link["use_detail"] for link in listed_links(cli))
    shipped_roles(lab.cloud, lab.cloud.world, yaml.safe_load(lab.policy_path.read_text("utf-8"))["accounts"], "link")
    assert {link["to"] for link in listed_links(cli, "--unused", "7d")} == {cache.id, ledger.id}
    assert all(
        "of 30 days" in link["use_detail"] for link in listed_links(cli, "--state", "open") if link["use"] != "used"
    )
    before = lab.calls()
    assert cli("links", "-o", "csv", "--unused", "8d") == 0
    assert sum(call.action == "GetLogs" for call in list(lab.cloud.faults.calls)[before:]) == 4 + 2 * 3
    [used] = [link for link in listed_links(cli) if link["to"] == db.id]
    assert (used["use"], used["last_used"], used["narrow"]) == ("used", lab.iso(-42_601), "")
    [reacher] = [source for source in cli.json("who", db.id)[1] if source["by"] == "link-peer"]
    assert (reacher["use"], reacher["last_used"]) == ("used", used["last_used"])
    monkeypatch.setattr(flow_log, "LIMIT", 1)  # the service answers with no more rows, and calls that complete
    assert listed_links(cli, "--unused", "7d") == []
    assert all("did not return all of its flows" in link["use_detail"] for link in listed_links(cli))


def test_consent_of_a_command_is_recorded_in_every_view(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """`links`, `who` and the file of the map say so; `explain` asks ActionTrail, which proves it."""
    app, db = lab.group(), lab.group("*:tcp/1")
    assert cli("accept", db.id, f"{app.id}:tcp/3306", "--yes") == 0
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    path = tmp_path / "map.json"
    assert cli("map", "--out", str(path)) == 0
    [mapped_link] = json.loads(path.read_text(encoding="utf-8"))["links"]
    [link] = cli.json("links")[1]
    [explanation] = cli.json("explain", app.id, db.id)[1]
    [source] = [row for row in cli.json("who", db.id)[1] if row["by"] == "link-peer"]
    words = [
        text.rpartition(" ")[2]
        for answer in (mapped_link, link, source, explanation["links"][0])
        for text in answer["consented_by"]
    ]
    assert words == ["(recorded)", "(recorded)", "(recorded)", "(proven)"]
