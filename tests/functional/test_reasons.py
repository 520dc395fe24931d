"""Functions decide by the kind of a reason: with any other one of its kind they do the same, and only say something else."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from link_peer_local.ecs import state

from tests.functional.lab import HOME, PEER, Lab
from tests.functional.test_advice import CASES, LOOKS
from tests.reasons import SHIFTS, swapped

Act = Callable[[Lab], object]
SAID = {
    "reason",
    "detail",
    "advice",
    "counts",
    "time",
    "api_requests",
    "seconds",
    "effect",
    "effect_detail",
    "policy",
    "key",
}
"""What a record says of an outcome, and what differs between two runs of one script."""


def done(lab: Lab) -> list[Any]:
    """Rules, tags, messages and records, without what records say."""
    accounts = (lab.cloud.ecs.accounts[uid] for uid in (HOME, PEER))
    groups = sorted((group for account in accounts for group in account.groups.values()), key=lambda group: group.id)
    rules = [[(text, rule["Description"], rule["Priority"]) for text, rule in lab.rules_of(one)] for one in groups]
    records = lab.records("intent", "attempt", "outcome", "summary")
    left = [sorted((key, value) for key, value in record.items() if key not in SAID) for record in records]
    return [
        [(one.id, lab.tags(one)) for one in groups],
        [sorted(found) for found in rules],
        sorted(map(str, lab.queued(after=3600))),
        sorted(map(str, left)),
    ]


def foreign_peer_without_a_group_for_it(lab: Lab) -> None:
    ledger = lab.group("*", account=PEER)
    lab.auto_link(
        lab.event(lab.instance(lab.group(type="enterprise"), tags={"link-peer": f"{ledger.id}@{PEER}:tcp/1"}))
    )


def foreign_peer_too_many(lab: Lab) -> None:
    lab.policy(limits={"max_peers": 1})
    ledger, db = lab.group("*", account=PEER), lab.group("*")
    lab.auto_link(lab.event(lab.instance(lab.group(), tags={"link-peer": f"{db.id}:tcp/1 {ledger.id}@{PEER}:tcp/2"})))


def foreign_link_that_has_ended(lab: Lab, until: str = "2020-01-01T00:00:00Z") -> None:
    ledger = lab.group(f"*@{HOME}", account=PEER)
    instance = lab.started(lab.group(), tags={"link-peer": f"{ledger.id}@{PEER}:tcp/1"})
    lab.drain(60)
    lab.retag(instance, link_until=until)
    lab.drain(60)


def foreign_link_with_an_unreadable_end(lab: Lab) -> None:
    foreign_link_that_has_ended(lab, "soon")


def peers_that_do_not_exist(lab: Lab) -> None:
    tags = {"link-peer": "sg-bp1none0000000000a:tcp/1 i-bp1none0000000000a:tcp/1"}
    lab.auto_link(lab.event(lab.instance(lab.group(), tags=tags)))


def peer_without_an_address(lab: Lab) -> None:
    target = lab.instance(lab.group("*"))
    target.ip_visible_from = lab.cloud.clock.now() + 3600
    lab.auto_link(lab.event(lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})))


def own_group(lab: Lab) -> None:
    near, apart = lab.group(), lab.group(inner_access="Drop")
    lab.auto_link(lab.event(lab.instance(near, tags={"link-peer": f"{near.id}:tcp/1"})))
    lab.auto_link(lab.event(lab.instance(apart, tags={"link-peer": f"{apart.id}:tcp/1"})))
    lab.cross_account(lab.request(near, near, "tcp/1"))


def paused(lab: Lab) -> None:
    db = lab.group("*")
    lab.policy(paused=True)
    lab.auto_link(lab.event(lab.instance(lab.group(), tags={"link-peer": f"{db.id}:tcp/1"})))
    lab.cross_account(lab.request(lab.group(), db, "tcp/1"))


def persons_rule(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    lab.authorize(db, IpProtocol="TCP", PortRange="1/1", SourceGroupId=app.id, Policy="accept")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})))


def link_that_loses_its_consent(lab: Lab, **tags: str | None) -> None:
    _, _, db = lab.linked()
    lab.tag(db, **(tags or {"link_accept": None}))
    lab.auto_link(lab.group_event(db, "UntagResources"))
    lab.sweep()


def link_that_is_locked(lab: Lab) -> None:
    link_that_loses_its_consent(lab, link_lock="incident 7")


def links_of_released_instances(lab: Lab, limit: int = 50) -> None:
    lab.policy(limits={"removals_per_run": limit})
    for _ in range(3):
        instance, _, _ = lab.linked()
        lab.release(instance)
    lab.instance(lab.group())
    lab.sweep()


def removals_that_are_held(lab: Lab) -> None:
    links_of_released_instances(lab, 1)


def account_that_refuses_a_sweep(lab: Lab) -> None:
    near, far = lab.pair()
    lab.cross_account(lab.request(far, near, "tcp/1"))
    lab.policy_account(PEER, external_id="wrong")
    lab.cross_account(lab.request(far, near, "tcp/1", request_id="chg-2"))
    lab.auto_link(lab.group_event(near))
    lab.sweep()


ACTS: tuple[Act, ...] = (
    *(deny for _, deny in CASES),
    *(deny for deny, _ in LOOKS.values()),
    foreign_peer_without_a_group_for_it,
    foreign_peer_too_many,
    foreign_link_that_has_ended,
    foreign_link_with_an_unreadable_end,
    peers_that_do_not_exist,
    peer_without_an_address,
    own_group,
    paused,
    persons_rule,
    link_that_loses_its_consent,
    link_that_is_locked,
    links_of_released_instances,
    removals_that_are_held,
    account_that_refuses_a_sweep,
)


@pytest.mark.knobs(request_tags=True, strict_ids=False)
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_another_reason_of_the_kind_changes_nothing_that_is_done(
    act: Act, make_lab: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules, tags, messages and outcomes are the same. Two shifts give each denial here two other reasons."""

    def run(shift: int) -> tuple[list[Any], list[str]]:
        monkeypatch.setattr(state, "secrets", SimpleNamespace(choice=random.Random(20).choice))
        lab = make_lab()
        with swapped(shift):
            act(lab)
            said = [record["reason"] for record in lab.records()]
            return done(lab), said

    plain, said = run(0)
    others = [run(shift) for shift in (1, SHIFTS[-1] // 2)]
    assert [one for one, _ in others] == [plain, plain]
    assert not any(said) or all(one != said for _, one in others)
