"""Every view says the same of each link, and what is so: which rules stand, what becomes of packets, what the next
sweep removes.

The reader takes rules of ours from the cloud by their markers, and asks the cloud of each packet; of link-peer it has
nothing.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import pytest
from aliyun_local.api import Group, Instance, may_reach

from tests.functional.command import ALL, Cli
from tests.functional.lab import HOME, PEER, Lab
from tests.sample import part
from tests.simulation.oracle import MARKER

WORLDS = int(os.environ.get("LINK_PEER_TRUTH_WORLDS", part(10, 2)))
"""Random worlds that are tried."""
PACKETS = (("tcp", 1), ("tcp", 80), ("tcp", 443), ("udp", 53), ("icmp", -1))
"""Of links of every protocol, and of other ports these."""

StateByLink = dict[str, tuple[str, str]]
"""By rule, the state of its link, and when that ends."""


class Truth:
    """A world whose groups are known, and what is asked of it."""

    def __init__(self, lab: Lab, cli: Cli) -> None:
        self.lab = lab
        self.cli = cli
        self.groups: list[Group] = []
        self.instances: list[Instance] = []
        self.hidden = ""  # the account that cannot be read

    def group(self, *accepts: str, account: str = HOME, **fields: Any) -> Group:
        """A group with an instance that runs."""
        group = self.lab.group(*accepts, account=account, **fields)
        self.groups.append(group)
        self.instances.append(self.lab.instance(group))
        return group

    def standing(self) -> set[str]:
        """The ids of the rules of ours that stand."""
        rules = [rule for group in self.groups if group.account != self.hidden for rule in self.lab.raw_rules(group)]
        return {rule["SecurityGroupRuleId"] for rule in rules if MARKER.fullmatch(rule["Description"])}

    # what the views say

    def lines(self, *args: str) -> list[Any]:
        """What a command prints. Of these it fails only where an account cannot be read."""
        code, documents = self.cli.json(*args)
        assert code == bool(self.hidden) or args[0] in ("doctor", "explain"), self.cli.err
        return documents

    def near(self, links: Iterable[Any]) -> list[Any]:
        """Those of which both ends can be read, and exist: of others `explain` says nothing."""
        exist = {party.id for party in (*self.groups, *self.instances)}
        return [
            link
            for link in links
            if {link["from"], link["to"]} <= exist and self.hidden not in (link["from_account"], link["to_account"])
        ]

    def explained(self, links: Iterable[Any]) -> StateByLink:
        """What `explain` says of these."""
        pairs = {(f"{link['from']}@{link['from_account']}", f"{link['to']}@{link['to_account']}") for link in links}
        return states_of(
            link for pair in sorted(pairs) for answer in self.lines("explain", *pair) for link in answer["links"]
        )

    def agree(self) -> list[Any]:
        """All views say the same of the links, of which they omit none; those are returned."""
        links = self.lines("links")
        states = states_of(links)
        assert states.keys() == self.standing()
        assert sum(len(link["rules"]) for link in links) == len(states)
        self.cli("map", "--format", "json")
        assert states_of(json.loads(self.cli.out)["links"]) == states
        near = self.near(links)
        assert self.explained(near) == states_of(near)
        [swept] = self.lines("sweep", "--dry-run")
        half_open = {entry["rule_id"] for entry in swept["obsolete"] if entry["kind"] == "half-open"}
        assert half_open <= {rule for rule, (word, _) in states.items() if word == "half-open"}
        closing = {rule for rule, (word, _) in states.items() if word == "closing"}
        listed = {entry["rule_id"] for entry in swept["obsolete"] if entry["kind"] == "held"}
        assert listed <= closing
        removed = revoked(swept)
        assert len(removed) == sum(len(group["remove"]) for group in swept["groups"])
        assert closing - listed <= removed <= states.keys() - listed
        replaced = removed - closing  # another rule takes the place of each in the same sweep
        assert len(replaced) <= sum(len(group["add"]) for group in swept["groups"])
        counted = ", ".join(f"{n} {word}" for word, n in sorted(Counter(link["state"] for link in links).items()))
        details = [
            finding["detail"] for finding in self.lines("doctor", "--tenants") if finding["what"] == "state of links"
        ]
        assert [text.partition(", as far")[0] for text in details] == ([counted] if links else [])
        return links

    def who_agrees(self, links: Iterable[Any]) -> None:
        """`who` says of each rule of a link that it is closing, or half-open, and when it ends, as `links` does. The
        map has the same rules, whoever made them."""
        states, parties = states_of(links), sorted({f"{link['to']}@{link['to_account']}" for link in self.near(links)})
        self.cli("map", "--format", "json")
        mapped_rules = json.loads(self.cli.out)["rules"]
        for party in parties:
            sources = self.lines("who", party)
            assert [
                (rule["from"], rule["rule_id"], rule["ports"], rule["state"])
                for rule in mapped_rules
                if f"{rule['to']}@{rule['to_account']}" == party
            ] == [
                (source["from"], source["rule_id"], source["ports"], source["state"])
                for source in sources
                if source["by"] != "members"
            ]
            for source in sources:
                if source["rule_id"] in states:
                    state, until = states[source["rule_id"]]
                    assert source["until"] == until
                    assert (source["state"] == state) >= (state in ("closing", "half-open"))

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
                    yield from (reach(*packet).ok for packet in packets)

    def members(self, party: str, account: str) -> list[Instance]:
        """The instances of a group, or the instance."""
        now = self.lab.cloud.clock.now()
        states = [(instance, instance.states.at(now)) for instance in self.instances if instance.account == account]
        return [instance for instance, state in states if state and party in (instance.id, *state.groups)]

    def holds(self, links: Iterable[Any]) -> None:
        """What is said of packets is so; and the next sweep removes what is closing, and nothing else, as its dry run
        says."""
        states = states_of(links)
        for link in links:
            if link["state"] in ("open", "partly", "blocked") and (results := set(self.passing(link))):
                assert link["state"] == {(True,): "open", (False,): "blocked"}.get(tuple(results), "partly"), link
        closing = {rule for rule, (word, _) in states.items() if word == "closing"}
        [swept] = self.lines("sweep", "--dry-run")
        assert revoked(swept) == closing
        self.lab.sweep()
        assert states.keys() - self.standing() == closing

    def strip(self) -> None:
        """A tool that rewrites tags takes off what it does not know."""
        for group in self.groups:
            for key in [key for key in self.lab.tags(group) if key.startswith("link-managed")]:
                params = {"ResourceType": "securitygroup", "ResourceId.1": group.id, "TagKey.1": key}
                self.lab.call(group.account, "UntagResources", params)


def states_of(links: Iterable[Any]) -> StateByLink:
    """What a view says, by rule."""
    return {rule["rule_id"]: (link["state"], link["until"]) for link in links for rule in link["rules"]}


def revoked(swept: Any) -> set[str]:
    """The ids of the rules that the commands of a dry run remove."""
    commands = [entry["command"] for entry in swept["commands"]]
    removing = [command for command in commands if "RevokeSecurityGroup" in command]
    return {rule_id for command in removing for rule_id in re.findall(r"\bsgr-\w+", command)}


def packet(port: str) -> tuple[str, int]:
    protocol, _, number = port.partition("/")
    return protocol, int(number.partition("-")[0] or -1)


@pytest.fixture(name="truth")
def _truth(lab: Lab, cli: Cli) -> Truth:
    return Truth(lab, cli)


# twelve states


def _thirteen(truth: Truth) -> dict[str, tuple[str, str]]:
    """Links in every state; by target, the state and the end of each."""
    lab, states = truth.lab, {}

    def link_in_state(
        state: str, *ports: str, accept: str = "*", until: str = "", end: str = "", account: str = HOME
    ) -> Any:
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

    link_in_state("open", "tcp/1")
    tagged("open", lab.iso(86_400))
    link_in_state("open", "tcp/1", until=lab.iso(7200))
    soon = lab.iso(90)  # what is retried takes up to 40 s of the cloud's time
    link_in_state("open", "tcp/1", accept=f"*~{re.sub('[-:]', '', soon)}", end=soon)
    _, ported = link_in_state("partly", "tcp/1", "tcp/2")
    lab.authorize(ported, IpProtocol="TCP", PortRange="2/2", SourceCidrIp="0.0.0.0/0", Policy="drop", Priority="1")
    _, one_way = link_in_state("partly")
    _, dropped = link_in_state("blocked", "tcp/1")
    for group in (one_way, dropped):
        lab.authorize(group, **ALL, SourceCidrIp="0.0.0.0/0", Policy="drop", Priority="1")
    half, _ = link_in_state("half-open")
    lab.revoke(half)
    _, locked = link_in_state("closing", "tcp/1")
    lab.tag(locked, link_lock="")
    refusing, refused = link_in_state("closing", "tcp/1")
    lab.tag(refusing, link_refuse=refused.id)
    _, withdrawn = link_in_state("closing", "tcp/1", "icmp")
    lab.tag(withdrawn, link_accept=None)
    unasking, _ = tagged("closing")
    lab.tag(unasking, link_peer=None)
    link_in_state("open", "tcp/1", accept=f"*@{PEER}", account=PEER)
    return states


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("hidden", ["", PEER])
def test_thirteen_states_are_the_same_in_every_view(truth: Truth, stripped: bool, hidden: str) -> None:
    """Also once the managed tags are gone, and where an account cannot be read, whose link is unknown."""
    states = _thirteen(truth)
    if stripped:
        truth.strip()
    if hidden:
        truth.hidden = hidden
        truth.lab.fault(service="ecs", action="DescribeSecurityGroups", account=PEER, kind="error", times=None)
        truth.lab.fault(service="ecs", action="DescribeInstances", account=PEER, kind="error", times=None)
        states[next(reversed(states))] = "unknown", ""
    links = truth.agree()
    assert {
        link["to"] if link["to"] in states else link["from"]: (link["state"], link["until"]) for link in links
    } == states
    truth.who_agrees(links)
    truth.holds(links)


def test_what_ends_by_itself_is_closing_at_that_second(truth: Truth) -> None:
    """Not eight seconds before, in which a thousand readings of the clock fit; and every view says when it ended. A
    tag's end, a request's, and a consent's."""
    clock = truth.lab.cloud.clock
    for end in sorted({until for _, until in _thirteen(truth).values() if until}):
        clock.sleep(datetime.fromisoformat(f"{end[:-1]}+00:00").timestamp() - clock.now() - 8)
        before = [link for link in truth.agree() if link["until"] == end]
        assert {link["state"] for link in before} == {"open"}
        clock.sleep(8)
        links = truth.agree()
        assert {states_of(links)[rule] for rule in states_of(before)} == {("closing", end)}
        truth.who_agrees(links)
        truth.holds(links)


# random worlds


def _acts(truth: Truth, of: random.Random) -> list[Callable[[], object]]:
    """What requesters, owners, operators and time may do."""
    lab, pick = truth.lab, of.choice

    def end() -> str:
        return lab.iso(pick((41, 900, 86_400)))

    def consent() -> None:
        entry = pick(("", "", ":tcp/1")) + pick(("", "", f"~{re.sub('[-:]', '', end())}"))
        lab.tag(pick(truth.groups), link_accept=pick((f"*@{HOME}{entry} *@{PEER}{entry}", None)))

    def ports() -> tuple[str, ...]:
        return pick(((), ("tcp/1",), ("tcp/80", "tcp/443"), ("icmp", "udp/53")))

    def request() -> None:
        ends: list[Any] = of.sample(truth.groups, 2)
        members = [truth.members(end.id, end.account)[:1] for end in ends]
        ends = [member[0] for member in members] if all(members) and of.random() < 0.2 else ends
        until = {"until": end()} if of.random() < 0.3 else {}
        lab.cross_account(lab.request(*ends, *ports(), request_id=f"chg-{of.randrange(999)}", **until))

    def ask() -> None:
        group, peer, other_group = of.sample(truth.groups, 3)
        groups = [group, other_group] if other_group.account == group.account and of.random() < 0.5 else [group]
        tags = {"link-peer": ":".join(filter(None, (f"{peer.id}@{peer.account}", "+".join(ports()))))}
        truth.instances.append(lab.started(*groups, tags=tags | pick(({}, {}, {"link-until": end()}))))

    def drop() -> None:
        how = {"Policy": pick(("drop", "accept")), "Priority": str(of.randrange(1, 101)), "SourceCidrIp": "0.0.0.0/0"}
        lab.authorize(pick(truth.groups), **pick((ALL, {"IpProtocol": "TCP", "PortRange": "80/80"})), **how)

    def spoil() -> None:
        """Somebody removes a rule, or gives it another priority."""
        group = pick(truth.groups)
        for rule in lab.raw_rules(group)[:1]:
            lab.modify(group, rule, Priority="50")
            if of.random() < 0.5:
                lab.revoke(group)

    def release() -> None:
        if len(truth.instances) > 1:
            lab.release(truth.instances.pop(of.randrange(len(truth.instances))))

    once = [release, drop, spoil, lambda: lab.tag(pick(truth.groups), link_lock="")]
    once += [lambda: lab.tag(pick(truth.groups), link_refuse=pick((pick(truth.groups).id, "*:tcp/1", "")))]
    once += [lambda: lab.cloud.clock.sleep(pick((60, 2000))), lambda: lab.tag(pick(truth.instances), link_peer=None)]
    return [request, request, request, ask, ask, consent, *once]


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(WORLDS))
def test_random_worlds_are_the_same_in_every_view(truth: Truth, seed: int) -> None:
    """And as the cloud has them, with and without managed tags; until nothing more is removed."""
    of = random.Random(seed)
    for _ in range(of.choice((3, 4, 5))):
        truth.group(f"*@{HOME} *@{PEER}", account=of.choice((HOME, HOME, PEER)))
    acts = _acts(truth, of)
    for act in [*acts[:4], *of.choices(acts, k=of.choice((3, 6, 9)))]:
        act()
    if of.random() < 0.25:
        truth.strip()
    truth.holds(truth.agree())
    truth.holds(truth.agree())


CASES = {"leaves": {"open": 1, "closing": 1}, "joins": {"partly": 1}, "moves": {"open": 1}}


@pytest.mark.parametrize("case", CASES)
def test_views_agree_on_what_the_ends_of_a_link_do_not_tell(truth: Truth, case: str) -> None:
    """An instance leaves the source of a link by address, or joins it, or goes to another that is granted the same, and
    no event tells."""
    lab, db = truth.lab, truth.group("*")
    app, other_group = truth.group(vpc=lab.a), truth.group(vpc=lab.a)
    lab.cloud.ecs.peerings.add(frozenset({lab.a, lab.shared}))
    if case == "moves":
        moving = lab.started(app, tags={"link-peer": f"{db.id}@{db.account}:tcp/1"})
        truth.instances.append(moving)
    else:
        truth.instances.append(lab.instance(app))
        lab.cross_account(lab.request(app, db, "tcp/1"))
        moving = truth.instances[-2 if case == "joins" else -1]
    group = app if case == "joins" else other_group
    lab.call(HOME, "ModifyInstanceAttribute", {"InstanceId": moving.id, "SecurityGroupIds.1": group.id})
    links = truth.agree()
    assert Counter(link["state"] for link in links) == CASES[case]
    truth.who_agrees(links)
    if case != "moves":  # its rule is written anew for the other group, in one sweep
        truth.holds(links)
