"""Between two full sweeps of an account, what it and its peers show of the parties that its rules name: closed in nine
minutes, however many accounts there are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import sweep as function
from aliyun_local.api import Group, Instance
from link_peer.alicloud.sts import CACHE
from link_peer.engine.scopes.sweep import PARTIES_SHARE
from link_peer.planning import cursor as cursors
from link_peer.planning.rota import LOOK_SECONDS, MOST_RUNS, RUN_SECONDS

from tests.functional.lab import HOME, OTHER, PEER, POLICY, REGION, THREE_ACCOUNTS, Lab

pytestmark = [pytest.mark.usefixtures("living_lab"), pytest.mark.knobs(request_tags=True)]

QUEUE = "link-peer-sweeps"
ROLE = POLICY["accounts"][PEER]["role"]
NINE = LOOK_SECONDS / 60
FULL = MOST_RUNS * RUN_SECONDS
THOUSAND = {
    f"{10**17 + n}": {"name": "c", "role": f"acs:ram::{10**17 + n}:role/x", "external_id": "c-1"} for n in range(998)
}
"""With home and its peer, so many accounts that each has a full sweep every four hours."""


class Chain:
    """The messages of one account's sweep, each delivered when it is due; nothing else happens: no event, and no other
    account's sweep."""

    def __init__(self, lab: Lab, account: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", QUEUE)
        self.lab, self.account, self.clock = lab, account, lab.cloud.clock
        self.calls: list[str] = []
        self.begin()

    def begin(self) -> None:
        """The first delivery of a full sweep."""
        self.began = self.clock.now()
        self.deliver(
            {"version": 1, "action": "sweep", "region": REGION, "account": self.account, "posted_at": self.lab.iso()}
        )

    def deliver(self, body: dict[str, Any]) -> None:
        """One delivery, with the keys of a function's process that has just begun; `calls` are those of it, with their
        account."""
        start = self.lab.calls()
        CACHE.clear()
        self.lab.run(function.handler, json.dumps([self.lab.message(body, QUEUE)]).encode())
        self.calls = [f"{call.account} {call.action}" for call in list(self.lab.cloud.faults.calls)[start:]]

    def step(self) -> None:
        """The next delivery, at its time."""
        due = self.lab.cloud.mns.next_visible_at(HOME, QUEUE)
        self.clock.advance(max(0.0, (due or self.began + FULL) - self.clock.now()))
        if due is None:
            self.begin()
        for body in self.lab.queued(QUEUE) if due else ():
            self.deliver(body)

    def minutes_until(self, is_closed: Callable[[], bool], most: float = 300) -> float:
        """How many minutes pass; math.inf where they are more than `most`."""
        start = self.clock.now()
        while not is_closed():
            if self.clock.now() - start > most * 60:
                return math.inf
            self.step()
        return (self.clock.now() - start) / 60


class Standing:
    """A link from a group of the peer, the other account where nothing else is said, to one of the holder."""

    def __init__(self, lab: Lab, holder: str, *, advanced: bool, port: str = "tcp/3306", peer: str = "") -> None:
        self.lab, self.peer = lab, peer or (PEER if holder == HOME else HOME)
        fields = {"type": "enterprise"} if advanced else {}
        self.app = lab.group(f"*@{holder}", account=self.peer, tags={"env": "dev"})
        self.db = lab.group(account=holder, **fields)
        self.instance = lab.instance(self.app)
        lab.instance(self.app)  # the link goes on
        sets = {name: {"account": self.peer, "tags": {"env": name}} for name in ("dev", "prod")}
        forbidden = {"from": "set:prod", "to": f"*@{holder}"}
        accounts = {**POLICY["accounts"], **THOUSAND}
        lab.policy(accounts=accounts, sets=sets, never=[forbidden])
        self.rules = {"sets": sets, "accounts": accounts}
        lab.tag(self.db, link_accept=f"{self.app.id}@{self.peer}")
        self.ports = [port] if port else []
        assert lab.cross_account(lab.request(self.app, self.db, *self.ports)) == {"applied": 1}

    def admits(self, party: Group | Instance) -> bool:
        """Whether a rule on the holder's group is for a party."""
        name = party.id if isinstance(party, Group) else f"{party.private_ip}/32>"
        return any(rule.startswith(name) for rule in self.lab.rules(self.db))


def enters_never(standing: Standing) -> None:
    standing.lab.tag(standing.app, env="prod")


def refuses(standing: Standing) -> None:
    standing.lab.tag(standing.app, link_refuse=f"{standing.db.id}@{standing.db.account}")


def leaves_group(standing: Standing) -> None:
    group = standing.lab.group(account=standing.peer)
    params = {"InstanceId": standing.instance.id, "SecurityGroupIds.1": group.id}
    standing.lab.call(standing.peer, "ModifyInstanceAttribute", params)


def is_released(standing: Standing) -> None:
    """And a stranger gets its address."""
    address = standing.instance.private_ip
    standing.lab.release(standing.instance)
    standing.lab.instance(standing.lab.group(account=standing.peer)).private_ip = address


def joins_barred_group(standing: Standing) -> None:
    barred = standing.lab.group(account=standing.peer, tags={"env": "dev"})
    params = {"InstanceId": standing.instance.id}
    groups = {"SecurityGroupIds.1": standing.app.id, "SecurityGroupIds.2": barred.id}
    standing.lab.call(standing.peer, "ModifyInstanceAttribute", {**params, **groups})
    standing.lab.tag(barred, env="prod")


def changes_address(standing: Standing) -> None:
    """And a stranger gets it."""
    address, standing.instance.private_ip = standing.instance.private_ip, "10.2.9.9"
    standing.lab.instance(standing.lab.group(account=standing.peer)).private_ip = address


@pytest.mark.parametrize("holder", [HOME, PEER])
@pytest.mark.parametrize(
    ("act", "by_address"),
    [
        (enters_never, False),
        (enters_never, True),
        (refuses, False),
        (refuses, True),
        (leaves_group, True),
        (is_released, True),
        (joins_barred_group, True),
        (changes_address, True),
    ],
)
def test_what_a_peer_shows_closes_in_nine_minutes_with_a_thousand_accounts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, act: Callable[[Standing], None], by_address: bool, holder: str
) -> None:
    """Of a group reference and of a rule by address, wherever it stands, though no event tells of it and the peer is
    not swept. It may be made right after a sweep, the longest wait there is."""
    standing = Standing(lab, holder, advanced=by_address)
    chain = Chain(lab, holder, monkeypatch)
    admitted = standing.instance if by_address else standing.app
    address = standing.instance.private_ip
    rule = f"{address}/32>" if isinstance(admitted, Instance) else admitted.id
    chain.step()
    assert standing.admits(admitted)
    act(standing)
    minutes = chain.minutes_until(lambda: not any(text.startswith(rule) for text in lab.rules(standing.db)))
    assert minutes <= NINE + 1 / 60


def test_a_group_that_leaves_an_allowed_set_is_closed_in_nine_minutes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the set consents."""
    standing = Standing(lab, HOME, advanced=False)
    allow = [{"from": "set:dev", "to": f"{standing.db.id}@{HOME}"}]
    lab.policy(**standing.rules, allow=allow)
    lab.tag(standing.db, link_accept=None)
    chain = Chain(lab, HOME, monkeypatch)
    assert standing.admits(standing.app)
    lab.tag(standing.app, env="prod")
    assert chain.minutes_until(lambda: not standing.admits(standing.app)) <= NINE + 1 / 60


def test_a_lock_in_the_other_account_closes_both_halves_of_a_mutual_link(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next short sweep of the account that holds one half: that of the locked group's account need not come
    first."""
    standing = Standing(lab, HOME, advanced=False, port="")
    chain = Chain(lab, HOME, monkeypatch)
    assert len(lab.rules(standing.app)) == len(lab.rules(standing.db)) == 1
    lab.tag(standing.app, link_lock="incident")
    assert chain.minutes_until(lambda: not lab.rules(standing.db) + lab.rules(standing.app)) <= NINE + 1 / 60


def test_a_target_that_is_released_leaves_no_egress_in_the_sources_account(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule on the source's group names an instance of the target's account."""
    source, target = lab.group(type="enterprise"), lab.group(account=PEER)
    lab.tag(source, link_egress=f"{target.id}@{PEER}")
    lab.tag(target, link_accept=f"{source.id}@{HOME}")
    released, _, _ = lab.instance(target), lab.instance(target), lab.instance(source)
    lab.policy(accounts={**POLICY["accounts"], **THOUSAND})
    assert lab.cross_account(lab.request(source, target, "tcp/1")) == {"applied": 1}
    chain = Chain(lab, HOME, monkeypatch)
    assert len(lab.raw_rules(source, "egress")) == 2
    lab.release(released)
    assert chain.minutes_until(lambda: len(lab.raw_rules(source, "egress")) == 1) <= NINE + 1 / 60


@pytest.mark.parametrize("act", [leaves_group, is_released, changes_address])
def test_an_instance_of_the_same_account_whose_event_was_lost_is_closed_in_nine_minutes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, act: Callable[[Standing], None]
) -> None:
    """No listing of groups shows it."""
    standing = Standing(lab, HOME, advanced=True, peer=HOME)
    chain = Chain(lab, HOME, monkeypatch)
    rule = f"{standing.instance.private_ip}/32>"
    assert standing.admits(standing.instance)
    act(standing)
    assert (
        chain.minutes_until(lambda: not any(text.startswith(rule) for text in lab.rules(standing.db))) <= NINE + 1 / 60
    )


def test_rules_that_name_more_parties_than_a_cursor_has_are_read_again_each_time(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as they are on some 200 groups."""
    monkeypatch.setattr(cursors, "MOST_PARTIES", 2)
    standing = Standing(lab, HOME, advanced=True)
    chain = Chain(lab, HOME, monkeypatch)
    chain.step()
    assert f"{HOME} DescribeSecurityGroupAttribute" in chain.calls
    is_released(standing)
    assert chain.minutes_until(lambda: len(lab.rules(standing.db)) == 1) <= NINE + 1 / 60


# what it costs, and whom it waits for


def test_a_look_at_rest_reads_the_named_parties_a_hundred_a_call(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One session and one call for groups of the other account; one more for its instances. No rules, and no record."""
    standing = Standing(lab, HOME, advanced=False)
    by_address = Standing(lab, HOME, advanced=True)
    chain = Chain(lab, HOME, monkeypatch)
    records = len(lab.records())
    chain.step()
    reads = ["DescribeSecurityGroups", "AssumeRole", "DescribeInstances", "DescribeSecurityGroups", "SendMessage"]
    assert [call.split()[1] for call in chain.calls] == reads
    assert len(lab.records()) == records
    assert (standing.admits(standing.app), by_address.admits(by_address.instance)) == (True, True)


@pytest.fixture(name="mixed_peers")
def _mixed_peers(three_accounts: Lab) -> Lab:
    """Each account shows an instance with a tag."""
    for account in (HOME, PEER, OTHER):
        three_accounts.instance(three_accounts.group(account=account), tags={"name": "alive"})
    return three_accounts


@pytest.mark.parametrize("three_accounts", ["one external id"], indirect=True)
@pytest.mark.parametrize("trouble", ["throttle", "no-answer", "error", "empty", "no role"])
def test_a_peer_that_cannot_be_read_closes_nothing_and_delays_no_other_by_more_than_a_share(
    mixed_peers: Lab, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Whichever is asked first. What the other shows is closed in the same short sweep."""
    lab = mixed_peers
    accounts = {**THREE_ACCOUNTS["accounts"], **THOUSAND}
    lab.policy(accounts=accounts)
    apps = {uid: lab.group(account=uid) for uid in (PEER, OTHER)}
    targets = {uid: lab.group(f"{app.id}@{uid}", type="enterprise") for uid, app in apps.items()}
    members = {uid: [lab.instance(app), lab.instance(app)] for uid, app in apps.items()}
    requests = [lab.request(app, targets[uid], "tcp/1", request_id=f"chg-{uid}") for uid, app in apps.items()]
    assert lab.cross_account(*requests) == {"applied": 2}
    chain = Chain(lab, HOME, monkeypatch)
    if trouble == "no role":
        del lab.cloud.identity.roles[ROLE]
    else:
        lab.fault(service="ecs", account=PEER, kind=trouble, times=None)
    for uid in (PEER, OTHER):
        lab.release(members[uid][0])
    share = PARTIES_SHARE * lab.context.function.timeout / 60
    assert chain.minutes_until(lambda: len(lab.rules(targets[OTHER])) == 1) <= NINE + share
    assert len(lab.rules(targets[PEER])) == 2


# what a party that is not shown may cost


def test_a_party_that_one_list_left_out_keeps_its_rule(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules are judged by another read of it."""
    standing = Standing(lab, HOME, advanced=True)
    chain = Chain(lab, HOME, monkeypatch)
    lab.leave_out(standing.instance)
    chain.step()
    assert "DescribeSecurityGroupAttribute" in " ".join(chain.calls)
    assert standing.admits(standing.instance)


@pytest.mark.parametrize("together", [True, False])
def test_the_guard_counts_all_short_sweeps_since_the_last_full_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """Where more parties of an account are gone than it allows, none of their rules is removed until the full sweep,
    which counts anew."""
    standing = Standing(lab, HOME, advanced=True)
    released = [lab.instance(standing.app) for _ in range(3)]
    assert lab.cross_account(lab.request(standing.app, standing.db, "tcp/3306")) == {"applied": 1}
    lab.policy(**standing.rules, limits={"removals_per_run": 2})
    chain = Chain(lab, HOME, monkeypatch)
    assert len(lab.rules(standing.db)) == 5
    remaining = []
    for number, instance in enumerate(released):
        lab.release(instance)
        if not together or number == 2:
            chain.step()
            remaining.append(len(lab.rules(standing.db)))
    assert remaining == ([5] if together else [4, 3, 3])
    assert lab.summary()["reason"] == "removals-held"
    assert PEER in lab.summary()["detail"]
    hours = chain.minutes_until(lambda: len(lab.rules(standing.db)) == 2) / 60
    assert hours == math.inf if together else 3 < hours <= 4


def test_an_account_that_shows_no_instance_at_all_loses_no_rule(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor once it shows them again, but for what is gone by then."""
    standing = Standing(lab, HOME, advanced=True)
    chain = Chain(lab, HOME, monkeypatch)
    lab.fault(service="ecs", account=PEER, action="Describe*", kind="empty", times=None)
    chain.step()
    lab.release(standing.instance)
    chain.step()
    assert len(lab.rules(standing.db)) == 2
    lab.cloud.faults.clear()
    assert chain.minutes_until(lambda: len(lab.rules(standing.db)) == 1) <= NINE + 1 / 60
