"""A request is known by its queue, its id and its link: what another sender posts under the same id changes no word
about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aliyun_local.api import Group

from tests.functional.command import Cli, take_turns
from tests.functional.lab import HOME, PEER, Lab

OWN, SHARED = "link-peer-requests-a", "link-peer-requests"


class Senders:
    """The team of home asks through a queue of its own for app to reach db. Another sender, on the shared queue, uses
    its id."""

    def __init__(self, lab: Lab, *accepts: str) -> None:
        self.lab = lab
        lab.policy_account(HOME, queue=OWN)
        lab.cloud.mns.create_queue(HOME, OWN)
        self.app, self.db = lab.group(name="app"), lab.group(*accepts, name="db")
        self.caller = lab.group(account=PEER)
        for group in (self.app, self.db, self.caller):
            lab.instance(group)

    def team(self) -> dict[str, int]:
        fields = {"requested_by": "team-orders", "reason": "audits"}
        return self.lab.cross_account(self.lab.request(self.app, self.db, "tcp/3306", **fields), queue=OWN)

    def shared_request(self, source: Group, *ports: str, action: str = "link") -> dict[str, int]:
        fields = {"requested_by": "mallory", "reason": "evil", "action": action}
        return self.lab.cross_account(self.lab.request(source, self.db, *ports, **fields), queue=SHARED)

    def link(self, cli: Cli, *command: str) -> dict[str, Any]:
        """The link of the team, as a command shows it."""
        if command[0] == "map":
            assert cli(*command) == 0, cli.err
            links = json.loads(cli.out)["links"]
        else:
            code, documents = cli.json(*command)
            assert code == 0, cli.err
            links = documents[0]["links"] if command[0] == "explain" else documents
        return next(link for link in links if (link["from"], link["to"]) == (self.app.id, self.db.id))


def test_who_asked_is_told_by_the_records_of_the_rules_themselves(lab: Lab, cli: Cli) -> None:
    """Whichever came first, and also where the other sender's link, to the same group, stands, too."""
    senders = Senders(lab, "*", f"*@{PEER}")
    assert senders.shared_request(senders.caller, "tcp/3306") == {"applied": 1}
    assert senders.shared_request(senders.app, "tcp/3306") == {"denied": 1}
    assert senders.team() == {"applied": 1}
    senders.shared_request(senders.caller, "tcp/3306")
    for command in (("links",), ("explain", senders.app.id, senders.db.id), ("map", "--format", "json")):
        link = senders.link(cli, *command)
        assert (link["asked_by"], link["reasons"]) == ([f"chg-1: team-orders through {OWN}"], ["audits"])
    theirs = next(link for link in cli.json("links")[1] if link["from"] == senders.caller.id)
    assert (theirs["asked_by"], theirs["reasons"]) == ([f"chg-1: mallory through {SHARED}"], ["evil"])


@pytest.mark.parametrize("again", [False, True])
def test_where_it_cannot_be_told_the_queue_of_each_is_shown(lab: Lab, cli: Cli, again: bool) -> None:
    """The account got a queue of its own in between, and the rule is none of which a record tells; else the later
    request is the one that changed it. A request for other ports is neither."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/2", requested_by="mallory"), queue="link-peer-requests-z")
    lab.revoke(db)
    lab.cross_account(lab.request(app, db, "tcp/1", requested_by="one"), queue=SHARED)
    lab.policy_account(HOME, queue=OWN)
    lab.revoke(db)
    lab.cross_account(lab.request(app, db, "tcp/1", requested_by="two"), queue=OWN)
    if again:
        lab.revoke(db)
        lab.forge(db, app, "req:chg-1", "tcp/1")
    queue_texts = [f"chg-1: one through {SHARED}, or two through {OWN}"]
    [link] = cli.json("links")[1]
    assert link["asked_by"] == (queue_texts if again else [f"chg-1: two through {OWN}"])


@pytest.mark.usefixtures("terminal")
def test_each_request_has_a_story_of_its_own(lab: Lab, cli: Cli) -> None:
    """With the later life of its link, but not what a namesake asked of that link. Programs get the records in
    order."""
    senders = Senders(lab, "*", f"*@{PEER}")
    senders.shared_request(senders.caller, "tcp/3306")
    senders.team()
    senders.shared_request(senders.app, "tcp/3306")
    lab.tag(senders.db, link_accept=None)
    lab.sweep()
    assert cli("audit", "--story", "chg-1") == 0
    stories = cli.out.split("the story of ")[1:]
    ends = f"{senders.app.id}@{HOME} → {senders.db.id}@{HOME}, tcp/3306"
    [own_story] = [story for story in stories if story.startswith(f"chg-1 through {OWN}: {ends}")]
    assert "mallory" not in own_story
    table = own_story.partition("To take it back")[0].splitlines()[:-1]  # without the heading of the act
    words = [word for line in table for word in line.split() if word in ("applied", "removed", "denied")]
    assert words == ["applied", "removed"]
    assert len([story for story in stories if story.startswith(f"chg-1 through {SHARED}: ")]) == 2
    _, records = cli.json("audit", "--story", "chg-1")
    assert records == sorted(records, key=lambda record: record["time"])
    assert {(record.get("request_id", ""), record.get("queue", "")) for record in records} == {
        ("chg-1", OWN),
        ("chg-1", SHARED),
        ("", ""),
    }
    link = lab.records(queue=OWN)[0]["link"]
    senders.lab.cross_account(lab.request(senders.caller, senders.db, "tcp/1", request_id=link))
    assert {record["link"] for record in cli.json("audit", "--story", link)[1]} == {link}


OUTCOMES: dict[str, Callable[[Senders], object]] = {
    "another link": lambda senders: senders.shared_request(senders.caller, "tcp/3306"),
    "the same link": lambda senders: senders.shared_request(senders.app, "tcp/3306"),
}


@pytest.mark.parametrize("action", ["link", "unlink"])
@pytest.mark.parametrize("case", OUTCOMES)
def test_a_wait_ends_with_the_outcome_of_this_very_request(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, case: str, action: str
) -> None:
    """Not with that of a namesake."""
    senders = Senders(lab, "*", f"*@{PEER}")
    if action == "unlink":
        senders.team()
    deliver = [lambda: lab.cross_account(*lab.queued(OWN), queue=OWN)]
    take_turns(lab, monkeypatch, [lambda: OUTCOMES[case](senders), *deliver])
    ends = ["--from", senders.app.id, "--to", senders.db.id, "--request-id", "chg-1"]
    code, [record] = cli.json("request", action, *ends, "--port", "tcp/3306", "--wait")
    assert (code, record["queue"], record["outcome"]) == (0, OWN, "applied" if action == "link" else "removed")
