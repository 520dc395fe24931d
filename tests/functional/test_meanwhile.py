"""A lock, withdrawn consent or another policy comes before each single call of each kind of delivery: at its end,
nothing stands that a group forbids whose tags it has read since. What comes later is closed at the tag's own event, or
by a sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aliyun_local.api import Group, Instance

from tests.functional.lab import HOME, MANAGED, PEER, Lab
from tests.sample import sample


class World(msgspec.Struct):
    """A link from `app` to `db` is to come; a mutual link of `db` and `other_group`, and claims of others, stand. They
    are of one account."""

    lab: Lab
    app: Group
    db: Group
    other_group: Group
    instance: Instance
    mutual: bool = False

    def standing_rules(self, victim: Group) -> list[str]:
        """The rules of ours that stand on a group, and the other halves of its mutual links."""
        halves = [rule for group in (self.app, self.db, self.other_group) for rule in self.lab.rules(group)]
        return self.lab.rules(victim) + [rule for rule in halves if rule.startswith(victim.id) and rule.endswith("all")]

    def clear(self) -> None:
        """Takes everything away that a later sweep would read."""
        self.lab.policy()
        self.lab.tag(self.instance, link_peer=None)
        for group in (self.app, self.db, self.other_group):
            for rule in self.lab.raw_rules(group):
                params = {"SecurityGroupId": group.id, "SecurityGroupRuleId.1": rule["SecurityGroupRuleId"]}
                self.lab.call(group.account, "RevokeSecurityGroup", params)
            tags = {"ResourceType": "securitygroup", "ResourceId.1": group.id, "All": "true"}
            self.lab.call(group.account, "UntagResources", tags)


def _world(lab: Lab, account: str, *ports: str, tag: bool = False, standing: bool = True) -> World:
    managed = {MANAGED: "true"}
    app = lab.group("*", f"*@{PEER}", tags=managed)
    db, other_group = (lab.group("*", f"*@{HOME}", account=account, tags=managed) for _ in range(2))
    peer = f"{db.id}@{account}" + (f":{'+'.join(ports)}" if ports else "")
    instance = lab.instance(app, tags={"link-peer": peer} if tag else {})
    mutual = [(db, other_group, "all"), (other_group, db, "all")]
    earlier = [(db, app, port) for port in ports] if ports else [(db, app, "all"), (app, db, "all")]
    for group, source, port in mutual + (earlier if standing else []):
        lab.forge(group, source, "req:earlier", port)
    return World(lab, app, db, other_group, instance, mutual=not ports)


Kind = Callable[[Lab], tuple[World, Callable[[], object]]]
"""Makes a world, and what is to be delivered in it."""


def _request(*ports: str, standing: bool = True) -> Kind:
    def make(lab: Lab) -> tuple[World, Callable[[], object]]:
        world = _world(lab, PEER, *ports, standing=standing)
        return world, lambda: lab.cross_account(lab.request(world.app, world.db, *ports))

    return make


def _instances(lab: Lab) -> tuple[World, Callable[[], object]]:
    world = _world(lab, PEER, "tcp/1")
    store = lab.instance(world.db)
    return world, lambda: lab.cross_account(lab.request(world.instance, store))


def _event(lab: Lab, *, standing: bool = True) -> tuple[World, Callable[[], object]]:
    world = _world(lab, HOME, "tcp/3306", "udp/53", tag=True, standing=standing)
    return world, lambda: lab.auto_link(lab.event(world.instance))


def _sync(lab: Lab) -> tuple[World, Callable[[], object]]:
    world = _world(lab, PEER, tag=True)
    return world, lambda: lab.cross_account(lab.request(world.app, world.db, action="sync"))


def _sweep(lab: Lab) -> tuple[World, Callable[[], object]]:
    world = _world(lab, PEER, "tcp/3306", tag=True, standing=False)
    return world, lab.sweep


def _group(lab: Lab) -> tuple[World, Callable[[], object]]:
    """Of what stands, a claim ends now, and its half goes on both groups."""
    world = _world(lab, HOME)
    lab.tag(world.app, link_accept=None)
    return world, lambda: lab.auto_link(lab.group_event(world.app))


KINDS: dict[str, Kind] = {
    "event": _event,
    "event, new rules": lambda lab: _event(lab, standing=False),
    "request, mutual": _request(),
    "request, mutual, new rules": _request(standing=False),
    "request, ports": _request("tcp/3306", "udp/53"),
    "request, instances": _instances,
    "sync": _sync,
    "sweep": _sweep,
    "look at a group": _group,
}

CALLS = 3
"""`make test` tries one call of so many; `make prove` all."""
MUTUAL = ("request, mutual", "request, mutual, new rules", "sync", "look at a group")
CHANGES = {"lock": {"link_lock": "INC-7"}, "withdrawal": {"link_accept": None}}
IN_TURN = [
    (kind, victim, list(CHANGES)[(number + (victim == "app")) % 2])
    for number, kind in enumerate(KINDS)
    for victim in ("db", "app")
    if victim == "db" or kind in MUTUAL
]
"""The changes take turns: of a mutual link, one group makes one, and the other the other."""


def _reads_of(lab: Lab, group: Group, happened: list[bool]) -> list[bool]:
    """Whether the tags of a group were read since, once for each read of them."""
    carry_out, reads = lab.cloud.ecs.call, list[bool]()

    def call(caller: Any, action: str, *args: Any, **options: Any) -> dict[str, Any]:
        since = bool(happened)
        answer = carry_out(caller, action, *args, **options)
        if action == "DescribeSecurityGroups":
            reads.extend(
                since
                for group_entry in answer["SecurityGroups"]["SecurityGroup"]
                if group_entry["SecurityGroupId"] == group.id
            )
        return answer

    lab.cloud.ecs.call = call  # type: ignore[method-assign]
    return reads


def _at_each_call(
    lab: Lab,
    kind: str,
    change: Callable[[World], object],
    victim: str,
    check: Callable[..., None],
    make: Kind | None = None,
) -> int:
    """Delivers as often as the delivery has calls, each time with the change before another of them; tries a sample of
    these. Returns how many calls it has."""
    carry_out, handle = lab.cloud.ecs.call, lab.cloud.handle
    world, deliver = (make or KINDS[kind])(lab)
    before = lab.calls()
    deliver()
    world.clear()
    calls = lab.calls() - before
    for call in sample(range(calls), CALLS):
        world, deliver = (make or KINDS[kind])(lab)
        happened: list[bool] = []
        reads = _reads_of(lab, getattr(world, victim), happened)
        lab.interrupt(call, lambda world=world, happened=happened: (change(world), happened.append(True)))
        records = len(lab.records())
        deliver()
        lab.cloud.ecs.call, lab.cloud.handle = carry_out, handle  # type: ignore[method-assign]
        if not happened:  # sessions of roles are kept
            break
        check(world, lab.records()[records:], is_visible=any(reads))
        if not any(reads):
            lab.sweep()
            check(world, [], is_visible=True)
        world.clear()
    return calls


@pytest.mark.knobs(request_tags=True)
@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "victim", "change"), IN_TURN)
def test_what_a_group_forbids_by_its_last_read_is_gone_at_the_end(
    lab: Lab, kind: str, change: str, victim: str
) -> None:
    """Whatever claims it carries, and with half of a mutual link the other half. No outcome says that it was
    applied."""

    def check(world: World, records: list[dict[str, str]], *, is_visible: bool) -> None:
        group = getattr(world, victim)
        applied = [record for record in records if record["outcome"] == "applied" and group.id in record["rules"]]
        assert not is_visible or (world.standing_rules(group), applied) == ([], [])

    def happens(world: World) -> None:
        lab.tag(getattr(world, victim), **CHANGES[change])

    assert _at_each_call(lab, kind, happens, victim, check) >= 6


@pytest.mark.knobs(request_tags=True)
@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "look at a group"])
def test_a_link_that_the_policy_forbids_by_its_last_read_is_taken_back(lab: Lab, kind: str) -> None:
    """What stands by its last record, stands: the sweep of a further account may remove what that of the first one has
    opened."""

    def check(world: World, records: list[dict[str, str]], *, is_visible: bool) -> None:
        own_claims = {"tag", "req:chg-1"} & {claim for text in lab.reasons(world.db) for claim in text.split(",")}
        outcomes = [record["outcome"] for record in records if world.db.id in record.get("rules", "")]
        changes = [outcome for outcome in outcomes if outcome in ("applied", "removed")]
        assert bool(own_claims) == (changes[-1:] == ["applied"])
        assert not (is_visible and own_claims)

    all_ports = [f"{protocol}/1-65535" for protocol in ("tcp", "udp")]
    assert _at_each_call(lab, kind, lambda _world: lab.policy(deny={"ports": all_ports}), "db", check) >= 6


SOURCE_CHANGES: dict[str, Callable[[World], object]] = {
    "refusal": lambda world: world.lab.tag(world.app, link_refuse=f"{world.db.id}@{world.db.account}"),
    "never": lambda world: world.lab.tag(world.app, env="prod"),
    "allow": lambda world: world.lab.tag(world.app, team=None),
}


@pytest.mark.knobs(request_tags=True)
@pytest.mark.exhaustive
@pytest.mark.parametrize("change", SOURCE_CHANGES)
@pytest.mark.parametrize("kind", ["event, new rules", "request, ports", "request, instances", "sweep"])
def test_a_link_that_its_source_forbids_by_its_last_read_is_taken_back(lab: Lab, kind: str, change: str) -> None:
    """Though the source's group has no rule of the link: it refuses the target, enters a set of `never`, or leaves one
    of `allow`."""
    sets = {
        "barred": {"account": HOME, "tags": {"env": "prod"}},
        "reviewed": {"account": HOME, "tags": {"team": "orders"}},
    }
    policy: dict[str, Any] = {
        "sets": sets,
        "never": [{"from": "set:barred", "to": f"*@{HOME}"}, {"from": "set:barred", "to": f"*@{PEER}"}],
    }
    if change == "allow":
        policy |= {"accept_tags": False, "allow": [{"from": "set:reviewed", "to": f"*@{uid}"} for uid in (HOME, PEER)]}

    def made_world(lab: Lab) -> tuple[World, Callable[[], object]]:
        lab.policy(**policy)
        world, deliver = KINDS[kind](lab)
        lab.tag(world.app, env="test", team="orders")
        return world, deliver

    def check(world: World, _records: list[dict[str, str]], *, is_visible: bool) -> None:
        own_claims = {"tag", "req:chg-1"} & {claim for text in lab.reasons(world.db) for claim in text.split(",")}
        assert not (is_visible and own_claims)

    assert _at_each_call(lab, kind, SOURCE_CHANGES[change], "app", check, make=made_world) >= 6


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("change", ["refusal", "never"])
@pytest.mark.parametrize("kind", ["event, new rules", "sweep"])
def test_a_link_that_another_group_of_the_asker_forbids_around_its_write_is_taken_back(
    lab: Lab, kind: str, change: str
) -> None:
    """The rule names the group that stands for the instance; the instance is judged with all of its groups."""
    world, deliver = KINDS[kind](lab)
    further_group = lab.group(tags={"env": "test"})
    lab.tag(world.app, env="test")
    sets = {"barred": {"account": HOME, "tags": {"env": "prod"}}}
    lab.policy(sets=sets, never=[{"from": "set:barred", "to": f"*@{uid}"} for uid in (HOME, PEER)])
    params = {"InstanceId": world.instance.id, "SecurityGroupId": further_group.id}
    lab.call(HOME, "JoinSecurityGroup", params)
    lab.meanwhile(
        "AuthorizeSecurityGroup", lambda: SOURCE_CHANGES[change](msgspec.structs.replace(world, app=further_group))
    )
    deliver()
    assert "tag" not in lab.reasons(world.db)
    assert lab.outcome()["reason"] == {"refusal": "refused", "never": "not-allowed"}[change]
