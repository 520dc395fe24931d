"""Many concurrent deliveries over HTTP, on a slow and faulty cloud, end in the desired and recorded state."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import auto_link
import cross_account
import pytest
import sweep
from aliyun_local.api import Group, Instance, Request, Response

from tests.functional.wire_lab import PATIENCE, WireLab
from tests.sample import sample

pytestmark = pytest.mark.http

THREADS = 8
SLOW = 0.002  # seconds, for every call without another fault
FAULTS = ("reset", "reset-after", "html", "error", "error-after", "truncated-after", "throttle")
CHANGES = ("AuthorizeSecurityGroup", "RevokeSecurityGroup", "ModifySecurityGroupRule")

Delivery = tuple[ModuleType, Any]


class Crowd:
    """Ten applications that share two databases in the home account, and pairs of groups across the accounts."""

    def __init__(self, lab: WireLab, seed: int = 1) -> None:
        self.lab = lab
        lab.wait(PATIENCE)
        self.random = random.Random(seed)
        self.dbs = [lab.group("*") for _ in range(2)]
        self.apps = [lab.group("*") for _ in range(10)]
        self.pairs = [lab.pair() for _ in range(4)]
        for group in (*self.dbs, *(b for _, b in self.pairs)):
            lab.instance(group)
        self.instances = [lab.instance(app, tags={"link-peer": self.peers()}) for app in self.apps]
        self.raised = 0
        self.put_back = 0  # messages that deliveries posted because of trouble
        self.settled: list[Delivery] = []
        self.rule_changes: list[dict[str, Any]] = []  # changes of rules, as ActionTrail reports them
        self.answered: set[str] = set()  # RequestIds of the successful responses that the function received
        self._watch()

    def _watch(self) -> None:
        published, handle = self.lab.cloud.ecs.on_event, self.lab.cloud.handle

        def listen(account: str, event: dict[str, Any]) -> None:
            data = event["data"]
            if data.get("eventName") in CHANGES and not data.get("errorCode"):
                self.rule_changes.append(data)
            if published:
                published(account, event)

        def answer(request: Request) -> Response:
            response = handle(request)
            with contextlib.suppress(ValueError, KeyError, TypeError):  # another service's response, or a truncated one
                if response.status == 200:
                    self.answered.add(json.loads(response.body)["RequestId"])
            return response

        self.lab.cloud.ecs.on_event = listen
        self.lab.cloud.handle = answer  # type: ignore[method-assign]

    def peers(self, *ports: str) -> str:
        """The tag of an application: these ports of the first database; by default tcp/3306, and all of the second."""
        first, second = self.dbs
        return f"{first.id}:{'+'.join(ports)}" if ports else f"{first.id}:tcp/3306 {second.id}"

    def faults(self, services: Iterable[str]) -> None:
        """Injects each kind a few times, spread over the calls; the other calls are slow."""
        for service in services:
            for kind in FAULTS:
                for _ in range(2):
                    self.lab.fault(service=service, kind=kind, skip=self.random.randrange(60))
        self.lab.fault(kind="slow", seconds=SLOW, times=None)

    # deliveries

    def settle(self, *deliveries: Iterable[Delivery]) -> None:
        """Runs all of them concurrently, each until its function answers, and then what they put on the queue, until it
        is empty."""
        todo = [delivery for several in deliveries for delivery in several]
        self.random.shuffle(todo)
        self._run(todo)
        self.settled += todo
        while bodies := self.lab.due():
            self.put_back += len(bodies)
            self._run([(cross_account, [self.lab.message(body)]) for body in bodies])

    def _run(self, todo: list[Delivery]) -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            counts = list(threads.map(lambda delivery: self.lab.settle(*delivery), todo))
        self.raised += sum(counts) - len(todo)

    def events(self, make: Callable[[Instance], dict[str, Any]]) -> list[Delivery]:
        """One event per instance, each twice: the bus delivers at least once."""
        return [(auto_link, event) for event in map(make, self.instances) for _ in range(2)]

    def requests(self, action: str, name: str, pairs: Iterable[tuple[Group, Group]]) -> list[Delivery]:
        """One request per pair, each twice."""
        bodies = [self.lab.request(a, b, action=action, request_id=f"{name}-{a.id}") for a, b in pairs]
        return [(cross_account, [self.lab.message(body)]) for body in bodies for _ in range(2)]

    def sweeps(self, name: str, count: int) -> list[Delivery]:
        return [(sweep, {"triggerTime": f"{name}-{number}"}) for number in range(count)]

    # final state

    def rules(self) -> dict[str, list[str]]:
        """The rules of every group."""
        groups = [*self.dbs, *self.apps, *(group for pair in self.pairs for group in pair)]
        return {group.id: self.lab.rules(group) for group in groups}

    def desired_rules(self, apps: dict[str, list[str]], linked: Iterable[tuple[Group, Group]]) -> dict[str, list[str]]:
        """The desired rules: each application's ports of the first database (none: the default tag), and these
        pairs."""
        first, second = self.dbs
        expected_rules: dict[str, list[str]] = {group: [] for group in self.rules()}
        for app, ports in apps.items():
            expected_rules[first.id] += [f"{app} {port}" for port in ports or ["tcp/3306"]]
            if not ports:
                expected_rules[second.id].append(f"{app} all")
                expected_rules[app].append(f"{second.id} all")
        for a, b in linked:
            expected_rules[a.id].append(f"{b.id} all")
            expected_rules[b.id].append(f"{a.id} all")
        return {group: sorted(rules) for group, rules in expected_rules.items()}

    # records

    def check_intents(self) -> None:
        """An intent names every change, even if the response was lost."""
        rules = [rule for record in self.lab.records("intent") for rule in json.loads(record["rules"])]
        ids = {rule["rule_id"] for rule in rules}
        keys = {(rule["group"], rule["source"].split("@")[0], rule["protocol"], rule["ports"]) for rule in rules}
        assert self.rule_changes
        for change in self.rule_changes:
            parameters = change["requestParameters"]
            for name, value in parameters.items():
                if ".SourceGroupId" in name:
                    place = name.removesuffix("SourceGroupId")
                    protocol, ports = parameters[f"{place}IpProtocol"].lower(), parameters[f"{place}PortRange"]
                    assert (parameters["SecurityGroupId"], value, protocol, ports) in keys, "a rule without an intent"
                elif name.startswith("SecurityGroupRuleId"):
                    assert value in ids, f"{change['eventName']} without an intent"

    def check_outcomes(self) -> None:
        """Every completed delivery has recorded an outcome: itself, or the message that it put on the queue."""
        records = self.lab.records("outcome", "summary")
        recorded = {record.get(name) for record in records for name in ("event_id", "request_id")}
        for function, body in self.settled:
            if function is cross_account:
                expected = {json.loads(body[0]["data"]["messageBody"])["request_id"]}
            elif function is auto_link:
                expected = {body["id"], f"look-{_instance_of(body)}"}
            else:
                expected = {f"sweep-{body['triggerTime']}"}
            assert expected & recorded, f"{function.__name__}: no outcome is recorded for {expected}"

    def check_requests_recorded(self) -> None:
        """A record names every successful call that was received, and every delivery that raised, or put something on
        the queue, left an attempt."""
        records = self.lab.records("outcome", "attempt")
        recorded = {request for record in records for request in record["api_requests"].split(",")}
        answered = [change for change in self.rule_changes if change["requestId"] in self.answered]
        assert len(answered) > len(self.rule_changes) / 2
        missing = [change["requestParameters"] for change in answered if change["requestId"] not in recorded]
        assert missing == [], missing
        assert len(self.lab.records("attempt")) >= self.raised + self.put_back


def _instance_of(event: dict[str, Any]) -> str:
    """The instance that an event of this crowd names."""
    data = event["data"]
    resource_id: str = (
        data["resourceId"] if "resourceId" in data else data["referencedResources"]["ACS::ECS::Instance"][0]
    )
    return resource_id


@pytest.mark.knobs(trail_resources="referencedResources", state_content="data")
@pytest.mark.exhaustive
@pytest.mark.parametrize("faulty", sample([("ecs", "sts", "sls"), ("ecs", "sts")], 2), ids="-".join)
def test_concurrent_deliveries_reach_the_desired_state(wire_lab: WireLab, faulty: tuple[str, ...]) -> None:
    """Duplicates, requests and sweeps together; then changes and unlinks. After each, a sweep without faults finds
    the desired state."""
    crowd = Crowd(wire_lab)
    ports_by_app = {app.id: [] for app in crowd.apps}

    crowd.faults(faulty)
    crowd.settle(
        crowd.events(wire_lab.event), crowd.requests("link", "chg", crowd.pairs), crowd.sweeps("2026-11-25T00:00", 2)
    )
    wire_lab.cloud.faults.clear()
    crowd.settle(crowd.sweeps("2026-11-25T00:01", 1))
    assert crowd.rules() == crowd.desired_rules(ports_by_app, crowd.pairs)

    for instance in crowd.instances[:5]:
        wire_lab.tag(instance, link_peer=crowd.peers("tcp/3306", "tcp/5432"))
    crowd.faults(faulty)
    crowd.settle(
        crowd.events(wire_lab.tag_event),
        crowd.requests("unlink", "end", crowd.pairs[:2]),
        crowd.sweeps("2026-11-25T00:02", 2),
    )
    wire_lab.cloud.faults.clear()
    crowd.settle(crowd.sweeps("2026-11-25T00:03", 1))
    fewer = ports_by_app | {app.id: ["tcp/3306", "tcp/5432"] for app in crowd.apps[:5]}
    assert crowd.rules() == crowd.desired_rules(fewer, crowd.pairs[2:])

    crowd.check_intents()
    crowd.check_outcomes()
    if "sls" not in faulty:
        crowd.check_requests_recorded()
