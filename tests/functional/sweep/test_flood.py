"""What one account forges, however much of it, delays nothing in another account, and costs it little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from aliyun_local.api import Group, Rule
from link_peer.domain import marker as markers
from link_peer.domain.model import TAG, Claim, Marker, Port, RuleKey

from tests.functional.lab import HOME, MANAGED, OTHER, PEER, REGION, Lab, party

pytestmark = [
    pytest.mark.knobs(request_tags=True),
    pytest.mark.parametrize("three_accounts", ["one external id"], indirect=True),
]
SLOW = 0.3  # seconds of a call: ten times what it takes, for a tenth of 20,000 rules
PER_MINUTE = 200
LATEST = 0.85 * 300  # of the function's 300 s, the rest is kept for its records
ENDED = Claim("chg-0", 1)


@pytest.fixture(name="lab")
def _lab(three_accounts: Lab) -> Lab:
    """Three accounts that show instances with tags. The second one floods."""
    three_accounts.context.function.timeout = 300
    for account in (HOME, PEER, OTHER):
        three_accounts.instance(three_accounts.group(account=account), tags={"name": "alive"})
    return three_accounts


def forge(lab: Lab, group: Group, sources: list[str], *claims: Claim) -> None:
    """Rules of a group with valid markers, one for each of these groups of the same account. They are put there
    directly: a call for each hundred would take the test long."""
    rules = []
    for n, source in enumerate(sources):
        port = Port("tcp", n + 1, n + 1)
        key = RuleKey(party(group), f"{source}@{group.account}", "", port)
        text = markers.render(Marker(HOME, "prod", key.id(HOME, "prod", REGION), claims or (TAG,)))
        peer = {"peer_group": source, "peer_owner": group.account, "id": f"sgr-{group.id[3:]}{n}", "sequence": n}
        fields = ("ingress", "TCP", port.range, "Accept", 100, "intranet")
        rules.append(Rule(*fields, description=text, created=lab.cloud.clock.now(), **peer))  # type: ignore[arg-type]
    group.rules.change(0, lambda old: (*old, *rules))


def rules(lab: Lab, groups: int = 10, each: int = 200) -> None:
    """Nobody consents to them."""
    for group in managed(lab, groups):
        forge(lab, group, [f"sg-{group.id[3:]}{n}" for n in range(each)])


def claims(lab: Lab) -> None:
    """One claim of each has ended, and the other keeps it while nobody looks at wishes: each costs a call."""
    source = lab.group(account=PEER)
    for group in managed(lab, 5, accepts=("*",)):
        forge(lab, group, [source.id] * 100, TAG, ENDED)


def empty(lab: Lab) -> None:
    """Groups that hold no rule of ours any more."""
    managed(lab, 150)


def wishes(lab: Lab) -> None:
    """Links within the account, each of which takes some calls to open."""
    targets = managed(lab, 40, accepts=("*",))
    source = lab.group(account=PEER)
    for n in range(0, 40, 5):
        lab.instance(source, tags={f"link-peer.{m}": f"{targets[n + m].id}:tcp/{m + 1}" for m in range(5)})


def managed(lab: Lab, count: int, accepts: tuple[str, ...] = ()) -> list[Group]:
    return [lab.group(*accepts, account=PEER, tags={MANAGED: "true"}) for _ in range(count)]


class Bystanders:
    """In both other accounts, a link whose consent was withdrawn, and a wish that nobody has opened yet."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        links = {account: self._link(account) for account in (HOME, OTHER)}
        lab.sweep()
        for db in links.values():
            assert lab.rules(db) != []
            lab.tag(db, link_accept=None)
        self.closing = links
        self.opening = {account: self._link(account) for account in (HOME, OTHER)}

    def _link(self, account: str) -> Group:
        app, db = self.lab.group("*", account=account), self.lab.group("*", account=account)
        self.lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
        return db

    def late(self) -> set[str]:
        """The accounts that still wait for a closing or an opening."""
        stand = {account for account, db in self.closing.items() if self.lab.rules(db)}
        return stand | {account for account, db in self.opening.items() if not self.lab.rules(db)}


def swept(lab: Lab) -> tuple[Counter[tuple[str, str]], float]:
    """One sweep at the platform's rates: its calls by account and action, and its seconds."""
    lab.fault(kind="slow", times=None, seconds=SLOW)
    lab.fault(service="ecs", kind="throttle", times=None, per_minute=PER_MINUTE)
    before, start = len(lab.cloud.faults.calls), lab.cloud.clock.now()
    lab.sweep()
    lab.cloud.faults.clear()
    return Counter((call.account, call.action) for call in list(lab.cloud.faults.calls)[before:]), (
        lab.cloud.clock.now() - start
    )


@pytest.mark.parametrize(("flood", "most"), [(rules, 600), (claims, LATEST / SLOW), (empty, 600), (wishes, 600)])
def test_a_flood_delays_no_other_account_by_a_sweep(lab: Lab, flood: Callable[[Lab], None], most: float) -> None:
    """Both others' consent and wishes are acted on in the same sweep, in time and with few calls."""
    bystanders = Bystanders(lab)
    flood(lab)
    calls, seconds = swept(lab)
    assert bystanders.late() == set()
    assert seconds <= LATEST + 10
    assert sum(calls.values()) <= most


def throttled(lab: Lab) -> None:
    """The flood's owner can see to that."""
    rules(lab, groups=2, each=3)
    lab.fault(service="ecs", action="RevokeSecurityGroup", account=PEER, kind="throttle", times=None)


def spread(lab: Lab) -> None:
    """A rule on each of many groups: some calls for each."""
    rules(lab, groups=200, each=1)
    lab.fault(service="ecs", account=PEER, kind="slow", seconds=SLOW, times=None)


@pytest.mark.parametrize("flood", [throttled, spread])
def test_a_long_closing_takes_no_time_from_wishes(lab: Lab, flood: Callable[[Lab], None]) -> None:
    """Reading the instances of another account takes most of the time of a run. The summary says what is left to the
    next one."""
    bystanders = Bystanders(lab)
    many = lab.group()
    for _ in range(1_000):
        lab.instance(many)
    flood(lab)
    lab.fault(service="ecs", action="DescribeInstances", account=HOME, kind="slow", seconds=9, times=None)
    lab.sweep()
    assert bystanders.late() == set()
    assert "changes: no time was left to make them" in lab.summary()["detail"]
