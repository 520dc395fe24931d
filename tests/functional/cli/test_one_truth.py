"""Every view says the same of each link, and what is so: which rules stand, what becomes of packets, what the next sweep removes.

The reader takes rules of ours from the cloud by their markers, and asks the cloud of each packet; of link-peer it has nothing.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import pytest
from link_peer_local.ecs import may_reach
from link_peer_local.ecs.state import Group, Instance

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab
from tests.functional.test_effects import ANY
from tests.simulation.oracle import MARKER

WORLDS = int(os.environ.get("LINK_PEER_TRUTH_WORLDS", "24"))
"""Random worlds that are tried."""
PACKETS = (("tcp", 1), ("tcp", 80), ("tcp", 443), ("udp", 53), ("icmp", -1))
"""Of links of every protocol, and of other ports these."""

Told = dict[str, tuple[str, str]]
"""By rule, the state of its link, and when that ends."""


class Truth:
    """A world whose groups are known, and what is asked of it."""

    def __init__(self, lab: Lab, cli: Cli) -> None:
        self.lab = lab
        self.cli = cli
        self.groups: list[Group] = []
        self.instances: list[Instance] = []
        self.hidden = ""  # the account that cannot be read

    def group(self, *accepts: str, account: str = HOME) -> Group:
        """A group with an instance that runs."""
        made = self.lab.group(*accepts, account=account)
        self.groups.append(made)
        self.instances.append(self.lab.instance(made))
        return made

    def standing(self) -> dict[str, str]:
        """The rules of ours that stand, by id, each with its group."""
        shown = [
            (group, rule) for group in self.groups if group.account != self.hidden for rule in self.lab.raw_rules(group)
        ]
        return {rule["SecurityGroupRuleId"]: group.id for group, rule in shown if MARKER.fullmatch(rule["Description"])}

    # what the views say

    def lines(self, *args: str) -> list[Any]:
        """What a command prints. Of these it fails only where an account cannot be read."""
        code, found = self.cli.json(*args)
        assert code == bool(self.hidden) or args[0] in ("doctor", "explain"), self.cli.err
        return found

    def links(self) -> list[Any]:
        return self.lines("links")

    def near(self, links: Iterable[Any]) -> list[Any]:
        """Those of which both ends can be read, and exist: of others `explain` says nothing."""
        exist = {one.id for one in (*self.groups, *self.instances)}
        return [one for one in links if {one["from"], one["to"]} <= exist and self.hidden not in ends_of(one)]

    def explained(self, links: Iterable[Any]) -> Told:
        """What `explain` says of these."""
        pairs = {(f"{one['from']}@{one['from_account']}", f"{one['to']}@{one['to_account']}") for one in links}
        return told(
            link for pair in sorted(pairs) for answer in self.lines("explain", *pair) for link in answer["links"]
        )

    def agree(self) -> list[Any]:
        """All views say the same of the links, of which they omit none; those are returned."""
        links = self.links()
        shown = told(links)
        assert shown.keys() == self.standing().keys()
        assert sum(len(one["rules"]) for one in links) == len(shown)
        self.cli("map", "--format", "json")
        assert told(json.loads(self.cli.out)["links"]) == shown
        near = self.near(links)
        assert self.explained(near) == told(near)
        stale = self.lines("stale")
        for kind, state in (("rule", "closing"), ("half-open", "half-open")):
            listed = sorted(one["rule_id"] for one in stale if one["kind"] == kind)
            assert listed == sorted(rule for rule, (word, _) in shown.items() if word == state)
        counted = ", ".join(f"{n} {word}" for word, n in sorted(Counter(one["state"] for one in links).items()))
        found = [one["detail"] for one in self.lines("doctor", "--tenants") if one["what"] == "state of links"]
        assert [text.partition(", as far")[0] for text in found] == ([counted] if links else [])
        return links

    def who_agrees(self, links: Iterable[Any]) -> None:
        """`who` says of each rule of a link that it is closing, or half-open, and when it ends, as `links` does."""
        shown, parties = told(links), sorted({f"{one['to']}@{one['to_account']}" for one in self.near(links)})
        for party in parties:
            for one in self.lines("who", party):
                if one["rule_id"] in shown:
                    state, until = shown[one["rule_id"]]
                    assert one["until"] == until
                    assert (one["state"] == state) >= (state in ("closing", "half-open"))

    # what is so

    def passing(self, link: Any) -> Iterator[bool]:
        """What becomes of each packet of a link, from each instance to each other, in each direction that it opens."""
        mutual = link["ports"] == "mutual"
        packets = PACKETS if mutual else [packet(text) for text in link["ports"].split("+")]
        ways = [("from", "to"), ("to", "from")] if mutual else [("from", "to")]
        for source, target in ways:
            sides = [self.members(link[end], link[f"{end}_account"]) for end in (source, target)]
            for a, b in itertools.product(*sides):
                if a.id != b.id:
                    reach = functools.partial(may_reach, self.lab.cloud.ecs, a.account, a.id, b.account, b.id)
                    yield from (reach(*one).ok for one in packets)

    def members(self, party: str, account: str) -> list[Instance]:
        """The instances of a group, or the instance."""
        now, found = self.lab.cloud.clock.now(), []
        for one in self.instances:
            state = one.states.at(now)
            if one.account == account and state and (one.id == party or party in state.groups):
                found.append(one)
        return found

    def holds(self, links: Iterable[Any]) -> None:
        """What is said of packets is so; and the next sweep removes what is closing, and nothing else, as its dry run says."""
        shown = told(links)
        for link in links:
            if link["state"] in ("open", "partly", "blocked") and (found := set(self.passing(link))):
                assert link["state"] == {(True,): "open", (False,): "blocked"}.get(tuple(found), "partly"), link
        closing = {rule for rule, (word, _) in shown.items() if word == "closing"}
        self.cli("sweep", "--dry-run", "--json")
        commands = " ".join(
            one["command"] for one in json.loads(self.cli.out)["commands"] if "RevokeSec" in one["command"]
        )
        assert {rule for rule in shown if re.search(rf"\b{rule}\b", commands)} == closing
        self.lab.sweep()
        assert shown.keys() - self.standing().keys() == closing

    def strip(self) -> None:
        """A tool that rewrites tags takes off what it does not know."""
        for group in self.groups:
            for key in [key for key in self.lab.tags(group) if key.startswith("link-managed")]:
                params = {"ResourceType": "securitygroup", "ResourceId.1": group.id, "TagKey.1": key}
                self.lab.call(group.account, "UntagResources", params)


def told(links: Iterable[Any]) -> Told:
    """What a view says, by rule."""
    return {rule["rule_id"]: (link["state"], link["until"]) for link in links for rule in link["rules"]}


def ends_of(link: Any) -> tuple[str, str]:
    return link["from_account"], link["to_account"]


def packet(port: str) -> tuple[str, int]:
    protocol, _, number = port.partition("/")
    return protocol, int(number.partition("-")[0] or -1)


@pytest.fixture(name="truth")
def _truth(lab: Lab, cli: Cli) -> Truth:
    return Truth(lab, cli)


# twelve states


def _twelve(truth: Truth) -> dict[str, tuple[str, str]]:
    """Links in every state; by target, the state and the end of each."""
    lab, states = truth.lab, {}

    def made(state: str, *ports: str, accept: str = "*", until: str = "", end: str = "", account: str = HOME) -> Any:
        source, target = truth.group("*", account=account), truth.group(accept)
        fields = {"until": until} if until else {}
        lab.cross_account(lab.request(source, target, *ports, request_id=f"chg-{len(states)}", **fields))
        states[target.id] = state, end or until
        return source, target

    def tagged(state: str, until: str = "") -> tuple[Instance, Group]:
        source, target = truth.group("*"), truth.group("*")
        tags = {"link-peer": f"{target.id}:tcp/1", **({"link-until": until} if until else {})}
        truth.instances.append(lab.started(source, tags=tags))
        states[target.id] = state, until
        return truth.instances[-1], target

    made("open", "tcp/1")
    tagged("open", lab.iso(86_400))
    made("open", "tcp/1", until=lab.iso(7200))
    soon = lab.iso(41)
    made("open", "tcp/1", accept=f"*~{re.sub('[-:]', '', soon)}", end=soon)
    _, ported = made("partly", "tcp/1", "tcp/2")
    lab.authorize(ported, IpProtocol="TCP", PortRange="2/2", SourceCidrIp="0.0.0.0/0", Policy="drop", Priority="1")
    _, one_way = made("partly")
    _, dropped = made("blocked", "tcp/1")
    for group in (one_way, dropped):
        lab.authorize(group, **ANY, SourceCidrIp="0.0.0.0/0", Policy="drop", Priority="1")
    half, _ = made("half-open")
    lab.revoke(half)
    _, locked = made("closing", "tcp/1")
    lab.tag(locked, link_lock="")
    _, withdrawn = made("closing", "tcp/1", "icmp")
    lab.tag(withdrawn, link_accept=None)
    unasking, _ = tagged("closing")
    lab.tag(unasking, link_peer=None)
    made("open", "tcp/1", accept=f"*@{PEER}", account=PEER)
    return states


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("hidden", ["", PEER])
def test_twelve_states_are_the_same_in_every_view(truth: Truth, stripped: bool, hidden: str) -> None:
    """Also once the managed tags are gone, and where an account cannot be read, whose link is unknown."""
    states = _twelve(truth)
    if stripped:
        truth.strip()
    if hidden:
        truth.hidden = hidden
        truth.lab.fault(service="ecs", action="DescribeSecurityGroups", account=PEER, kind="error", times=None)
        truth.lab.fault(service="ecs", action="DescribeInstances", account=PEER, kind="error", times=None)
        states[next(reversed(states))] = "unknown", ""
    links = truth.agree()
    assert {one["to"] if one["to"] in states else one["from"]: (one["state"], one["until"]) for one in links} == states
    truth.who_agrees(links)
    truth.holds(links)


def test_what_ends_by_itself_is_closing_at_that_second(truth: Truth) -> None:
    """Not before. A tag's end, a request's, and a consent's."""
    states = _twelve(truth)
    ends = sorted({until for state, until in states.values() if until})
    for end in ends:
        truth.lab.cloud.clock.sleep(
            datetime.fromisoformat(f"{end[:-1]}+00:00").timestamp() - truth.lab.cloud.clock.now() - 1
        )
        before = [one for one in truth.agree() if one["until"] == end]
        assert {one["state"] for one in before} == {"open"}
        truth.lab.cloud.clock.sleep(1)
        links = truth.agree()
        assert {rule for rule in told(before) if told(links)[rule][0] == "closing"} == told(before).keys()
        truth.holds(links)


# random worlds


class Chance:
    """What owners, requesters and operators may do, at random."""

    def __init__(self, truth: Truth, seed: int) -> None:
        self.truth, self.lab, self.of = truth, truth.lab, random.Random(seed)
        for _ in range(self.of.choice((3, 4, 5))):
            self.truth.group(self._entry(), account=self.of.choice((HOME, HOME, PEER)))
        self.asked: list[dict[str, Any]] = []
        for act in (self.request, self.request, self.ask):
            act()

    def act(self) -> None:
        """One thing that somebody does."""
        acts = (
            self.request,
            self.request,
            self.ask,
            self.ask,
            self.close,
            self.drop,
            self.consent,
            self.spoil,
            self.wait,
        )
        self.of.choice(acts)()

    def _entry(self, ports: str = "") -> str:
        who = self.of.choice(
            ("*", f"*@{HOME} *@{PEER}", f"*@{HOME} *@{PEER}", *(one.id for one in self.truth.groups[:2]))
        )
        end = self.of.choice(("", "", f"~{re.sub('[-:]', '', self._end())}"))
        return " ".join(one + ports + end for one in who.split())

    def _end(self) -> str:
        return self.lab.iso(self.of.choice((41, 900, 86_400)))

    def _ports(self) -> tuple[str, ...]:
        return self.of.choice(((), ("tcp/1",), ("tcp/80", "tcp/443"), ("icmp", "udp/53")))

    def request(self) -> None:
        source, target = self.of.sample(self.truth.groups, 2)
        fields = {"until": self._end()} if self.of.random() < 0.3 else {}
        if self.of.random() < 0.2:
            sides = [self.truth.members(one.id, one.account) for one in (source, target)]
            source, target = (
                self.of.choice(side or [group]) for side, group in zip(sides, (source, target), strict=True)
            )
        self.asked.append(
            self.lab.request(source, target, *self._ports(), request_id=f"chg-{len(self.asked)}", **fields)
        )
        self.lab.cross_account(self.asked[-1])

    def ask(self) -> None:
        group, peer = self.of.sample(self.truth.groups, 2)
        ports = "+".join(self._ports())
        tags = {"link-peer": f"{peer.id}@{peer.account}" + (f":{ports}" if ports else "")}
        tags |= {"link-until": self._end()} if self.of.random() < 0.3 else {}
        others = [one for one in self.truth.groups if one.account == group.account and one.id != group.id]
        self.truth.instances.append(
            self.lab.started(group, *self.of.sample(others, min(len(others), self.of.choice((0, 0, 1)))), tags=tags)
        )

    def close(self) -> None:
        """An owner's tags go, an instance is released, a request is taken back."""
        one, group = self.of.choice(self.truth.instances), self.of.choice(self.truth.groups)
        match self.of.choice(("untag", "release", "lock", "withdraw", "unlink")):
            case "untag":
                self.lab.tag(one, link_peer=None)
            case "release":
                self.truth.instances.remove(one)
                self.lab.release(one)
            case "lock":
                self.lab.tag(group, link_lock="")
            case "withdraw":
                self.lab.tag(group, link_accept=None)
            case "unlink" if self.asked:
                self.lab.cross_account({**self.of.choice(self.asked), "action": "unlink"})

    def consent(self) -> None:
        self.lab.tag(
            self.of.choice(self.truth.groups), link_accept=self._entry(self.of.choice(("", ":tcp/1", ":tcp/443")))
        )

    def drop(self) -> None:
        """An operator's rule."""
        port = self.of.choice((ANY, {"IpProtocol": "TCP", "PortRange": "80/80"}))
        who = self.of.choice(({"SourceCidrIp": "0.0.0.0/0"}, {"SourceGroupId": self.of.choice(self.truth.groups).id}))
        group = self.of.choice(self.truth.groups)
        if group.id not in who.values() and all(
            one.account == group.account for one in self.truth.groups if one.id in who.values()
        ):
            how = {"Policy": self.of.choice(("drop", "drop", "accept")), "Priority": self.of.choice(("1", "100"))}
            with contextlib.suppress(StopIteration):  # there is such a rule
                self.lab.authorize(group, **port, **who, **how)

    def spoil(self) -> None:
        """Somebody removes a rule, or gives it another priority."""
        group = self.of.choice(self.truth.groups)
        for rule in self.lab.raw_rules(group)[:1]:
            if self.of.random() < 0.5:
                self.lab.revoke(group)
            else:
                self.lab.modify(group, rule, Priority=self.of.choice(("1", "50")))

    def wait(self) -> None:
        self.lab.cloud.clock.sleep(self.of.choice((60, 1000, 2000)))


@pytest.mark.parametrize("seed", range(WORLDS))
def test_random_worlds_are_the_same_in_every_view(truth: Truth, seed: int) -> None:
    """And as the cloud has them, with and without managed tags; until nothing more is removed."""
    chance = Chance(truth, seed)
    for _ in range(chance.of.choice((4, 8, 12))):
        chance.act()
    if chance.of.random() < 0.25:
        truth.strip()
    truth.holds(truth.agree())
    truth.holds(truth.agree())
