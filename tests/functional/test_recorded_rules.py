"""The `action` and the `rules` of every outcome, on a group that holds other rules too: exactly those of the decision."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import Lab

Said = list[tuple[str, str, list[str]]]


class Crowded:
    """sg-db holds a link of sg-app, one of sg-web, a request's, a person's and another deployment's rule."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.app, self.web, self.db = lab.group(), lab.group(), lab.group("*")
        self.instance = self.link(self.app, "tcp/1")
        self.other = self.link(self.web, "tcp/1")
        lab.cross_account(lab.request(self.app, self.db, "tcp/9"))
        common = {"SourceGroupId": self.app.id, "IpProtocol": "TCP"}
        lab.authorize(self.db, **common, PortRange="22/22", Description="made by hand")
        lab.forge(self.db, self.web, "tag", "tcp/8")
        foreign = next(rule for rule in lab.raw_rules(self.db) if rule["PortRange"] == "8/8")
        lab.modify(self.db, foreign, Description=foreign["Description"].replace("dep=prod", "dep=test"))
        self.known: dict[str, str] = {}
        self.note()

    def link(self, group: Group, ports: str) -> Instance:
        """An instance that asks for sg-db, linked."""
        found = self.lab.instance(group, tags={"link-peer": f"{self.db.id}:{ports}"})
        self.lab.auto_link(self.lab.event(found))
        return found

    def note(self) -> None:
        """Remembers each rule's name by its id: of rules that go, too."""
        names = {self.app.id: "app", self.web.id: "web"}
        for text, rule in self.lab.rules_of(self.db):
            source, _, port = text.partition(" ")
            self.known[rule["SecurityGroupRuleId"]] = f"{names[source]} {port}"

    def after(self, run: Callable[[], object]) -> Said:
        """(action, outcome, rules by the names of their ids) of every outcome that a delivery records."""
        before = len(self.lab.records())
        run()
        self.note()
        found: Said = []
        for record in self.lab.records()[before:]:
            rules = json.loads(record["rules"])
            assert all(rule["group"] == self.db.id for rule in rules)
            named = [self.known[rule["rule_id"]] for rule in rules]
            assert [rule["ports"] for rule in rules] == [
                f"{name.partition('/')[2]}/" + name.partition("/")[2] for name in named
            ]
            found.append((record["action"], record["outcome"], sorted(named)))
        return sorted(found)

    def event(self) -> Callable[[], object]:
        return lambda: self.lab.auto_link(self.lab.tag_event(self.instance))


@pytest.fixture(name="crowded")
def _crowded(living_lab: Lab) -> Crowded:
    return Crowded(living_lab)


def tagged(crowded: Crowded, ports: str | None) -> Said:
    """What is recorded when the instance of sg-app asks for other ports."""
    crowded.lab.tag(crowded.instance, link_peer=f"{crowded.db.id}:{ports}" if ports else None)
    return crowded.after(crowded.event())


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        ("tcp/1", [("link", "unchanged", ["app tcp/1"])]),
        ("tcp/1+tcp/2", [("link", "applied", ["app tcp/1", "app tcp/2"])]),
        ("tcp/2", [("link", "applied", ["app tcp/2"]), ("unlink", "removed", ["app tcp/1"])]),
        ("tcp/9", [("link", "applied", ["app tcp/9"]), ("unlink", "removed", ["app tcp/1"])]),
        ("tcp/22", [("link", "unchanged", ["app tcp/22"]), ("unlink", "removed", ["app tcp/1"])]),
        ("tcp/x", [("link", "denied", []), ("unlink", "removed", ["app tcp/1"])]),
        (None, [("unlink", "removed", ["app tcp/1"])]),
    ],
)
def test_an_event_records_the_rules_of_its_links(crowded: Crowded, ports: str | None, said: Said) -> None:
    """Those that the link needs, those that go, and none of the neighbours'."""
    assert tagged(crowded, ports) == said


def test_a_denied_link_names_the_rules_that_went_with_it(crowded: Crowded) -> None:
    crowded.lab.policy(deny={"ports": ["tcp/1"]})
    assert crowded.after(crowded.event()) == [("link", "denied", []), ("unlink", "removed", ["app tcp/1"])]


def test_a_lock_names_the_rules_of_each_link_apart(crowded: Crowded) -> None:
    """A person's rule and another deployment's stay, and are in no record."""
    crowded.lab.tag(crowded.db, link_lock="")
    said = crowded.after(lambda: crowded.lab.auto_link(crowded.lab.group_event(crowded.db)))
    assert [(action, outcome) for action, outcome, _ in said] == [("unlink", "removed")] * len(said)
    assert sorted(name for _, _, names in said for name in names) == ["app tcp/1", "app tcp/9", "web tcp/1"]
    assert all(len({name.split()[0] for name in names}) == 1 for _, _, names in said)
    assert sorted(crowded.lab.rules(crowded.db)) == sorted([f"{crowded.app.id} tcp/22", f"{crowded.web.id} tcp/8"])


@pytest.mark.parametrize("sweep", [False, True])
def test_a_repair_names_its_rule(crowded: Crowded, sweep: bool) -> None:
    """By an event that asks for it, and by the sweep: a changed priority is put back."""
    (rule,) = (r for text, r in crowded.lab.rules_of(crowded.db) if text == f"{crowded.app.id} tcp/1")
    crowded.lab.modify(crowded.db, rule, Priority="1")
    said = crowded.after(crowded.lab.sweep if sweep else crowded.event())
    assert said == [("repair" if sweep else "link", "applied", ["app tcp/1"])]


def requested(crowded: Crowded, action: str, *ports: str, **fields: Any) -> Said:
    """What a request about sg-app and sg-db records."""
    request = crowded.lab.request(crowded.app, crowded.db, *ports, action=action, **fields)
    return crowded.after(lambda: crowded.lab.cross_account(request))


@pytest.mark.parametrize(
    ("action", "ports", "said"),
    [
        ("link", ["tcp/9"], [("link", "applied", ["app tcp/9"])]),
        ("unlink", ["tcp/9"], [("unlink", "removed", ["app tcp/9"])]),
        ("unlink", [], [("unlink", "removed", ["app tcp/9"])]),
        ("unlink", ["tcp/1"], [("unlink", "unchanged", [])]),
        ("sync", [], [("sync", "unchanged", ["app tcp/1"])]),
    ],
)
def test_a_request_records_the_rules_that_it_is_about(
    crowded: Crowded, action: str, ports: list[str], said: Said
) -> None:
    """With its own action. An unlink takes no tag's claim."""
    fields = {"request_id": "tag-1"} if action == "sync" else {}
    assert requested(crowded, action, *ports, **fields) == said


def test_a_claim_that_ends_is_recorded_as_expired_with_its_rule(crowded: Crowded) -> None:
    """Whether the rule goes or stays for another claim."""
    for name, port in (("chg-2", "tcp/1"), ("chg-3", "tcp/3")):
        requested(crowded, "link", port, request_id=name, until=crowded.lab.iso(60))
    crowded.lab.cloud.clock.advance(60)
    assert crowded.after(crowded.lab.sweep) == [
        ("expire", "removed", ["app tcp/1"]),
        ("expire", "removed", ["app tcp/3"]),
    ]


def test_a_quiet_sweep_records_no_rule(crowded: Crowded) -> None:
    assert crowded.after(crowded.lab.sweep) == []


def test_a_sweep_records_what_it_opens_and_closes_as_repairs(crowded: Crowded) -> None:
    crowded.lab.tag(crowded.instance, link_peer=f"{crowded.db.id}:tcp/2")
    assert crowded.after(crowded.lab.sweep) == [
        ("repair", "applied", ["app tcp/2"]),
        ("repair", "removed", ["app tcp/1"]),
    ]
