"""The test bed for whole functions: the local cloud, the official SDKs and the handlers, each in one line."""

from __future__ import annotations

import base64
import functools
import io
import itertools
import json
import math
import os
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import auto_link
import cross_account
import msgspec
import pytest
import sweep
import yaml
from aliyun_local.api import (
    Call,
    Caller,
    Fault,
    Group,
    Instance,
    Key,
    LocalCloud,
    Pattern,
    Request,
    Response,
    analysis,
    block,
    on_bus,
    unpack,
)
from link_peer.alicloud.sts import CACHE
from link_peer.app import compose
from link_peer.domain.model import ALL, Party, RuleKey
from link_peer.domain.tags import iso_millis, parse_party, parse_port
from link_peer.inbound import policy_file
from link_peer.runtime.delivery import Memory
from link_peer_cli.demo import world as worlds
from link_peer_cli.demo.functions import deploy
from link_peer_deploy.description import EVENT_RULES
from link_peer_deploy.names import VERSION_FILE
from msgspec.structs import replace

HOME = "1000000000000001"
PEER = "1000000000000002"
OTHER = "1000000000000003"
"""The second peer, in the world of three accounts."""
REGION = "cn-qingdao"
MANAGED = f"link-managed.prod.{HOME}"
"""The tag by which a sweep finds the groups with rules of ours."""

POLICY: dict[str, Any] = {
    "deployment": "prod",
    "accounts": {
        HOME: {"name": "a@aliyun.com"},
        PEER: {
            "name": "b@aliyun.com",
            "role": f"acs:ram::{PEER}:role/link-peer",
            "external_id": "link-peer-local-example",
        },
    },
}

_PEER = POLICY["accounts"][PEER]
THREE_ACCOUNTS: dict[str, Any] = {
    **POLICY,
    "accounts": {
        **POLICY["accounts"],
        OTHER: {
            "name": "c@aliyun.com",
            "role": _PEER["role"].replace(PEER, OTHER),
            "external_id": _PEER["external_id"],
        },
    },
}
"""The policy of home and two peers, which agreed on one external id with both."""


def world_of_three() -> dict[str, Any]:
    """The world file's content for THREE_ACCOUNTS: the VPCs of the default world, the shared one also with the second
    peer."""
    names = {uid: account["name"] for uid, account in THREE_ACCOUNTS["accounts"].items()}
    own_vpcs = [
        {"name": name, "owner": uid, "cidr": f"10.{n}.0.0/16"}
        for n, (name, uid) in enumerate({"a": HOME, "b": PEER}.items())
    ]
    shared = {"name": "shared", "owner": HOME, "cidr": "10.2.0.0/16", "shared_with": [PEER, OTHER]}
    return {
        "home": HOME,
        "deployment": "prod",
        "accounts": names,
        "vpcs": [*own_vpcs, shared],
        "policy": THREE_ACCOUNTS,
    }


def trust_without_external_id(cloud: LocalCloud) -> None:
    """Makes the roles of all peers trust home whether a call gives an external id or not."""
    for role in cloud.identity.roles.values():
        if role.external_id:
            trust = json.loads(role.trust)
            for statement in trust["Statement"]:
                del statement["Condition"]
            role.trust = json.dumps(trust)


@functools.cache
def _yaml(policy: str) -> str:
    """A policy, given as JSON, as YAML. Most tests write the same ones."""
    return yaml.dump(
        json.loads(policy), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False, allow_unicode=True
    )


class Lab:
    """One world with its functions. It runs on the cloud's clock; records are read from its SLS."""

    def __init__(
        self, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, folder: Any, policy: dict[str, Any] = POLICY
    ) -> None:
        self.cloud = cloud
        self._monkeypatch = monkeypatch
        self.forget()
        self.prefix = "link"
        self._written = policy
        self.policy_path = folder / "policy.yaml"
        self.policy()
        keys = cloud.identity.accounts[HOME]
        for name, value in {
            "LINK_PEER_CLOUD": "http://192.0.2.1:1",
            "LINK_PEER_POLICY": str(self.policy_path),
            "LINK_PEER_REGION": REGION,
            "LINK_PEER_AUDIT_PROJECT": cloud.world.audit_project,
            "LINK_PEER_AUDIT_LOGSTORE": cloud.world.audit_logstore,
            "LINK_PEER_QUEUE": cloud.world.queue,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
        }.items():
            monkeypatch.setenv(name, value)
        self._person = keys.access_key_id
        self._function_keys = self._issue()
        monkeypatch.setattr(compose, "clock_for_functions", lambda: cloud.clock)
        monkeypatch.setattr(
            compose, "READERS", 1
        )  # one read after the other, so that the order of calls is always the same
        monkeypatch.setattr(analysis, "_SECONDS", math.inf)  # queries are limited by their steps alone
        CACHE.clear()
        self.a, self.b, self.shared = (vpc["id"] for vpc in cloud.world.vpcs)
        self.context = SimpleNamespace(request_id="r-1", function=SimpleNamespace(name="f", timeout=120))
        self._events = 0
        self.by_account = False  # whether a sweep is one delivery for each account

    def _issue(self) -> Key:
        role = self.cloud.identity.roles[f"acs:ram::{HOME}:role/{self.cloud.world.function_role.lower()}"]
        return self.cloud.identity.issue(role, "functions", self.cloud.clock.now() + 10 * 366 * 86_400)

    @contextmanager
    def deployment(self, name: str) -> Iterator[None]:
        """What is done inside is done as another deployment in the same accounts, with names, tags, roles, queues, a
        log and a policy of its own. Of the keys of tags, `link` stands for its own prefix, `name`."""
        before = dict(vars(self))
        role = f"acs:ram::{PEER}:role/{name}"
        accounts = {**POLICY["accounts"], PEER: {**POLICY["accounts"][PEER], "role": role}}
        queues = {"queue": f"{name}-requests", "dead_letter_queue": f"{name}-dead-letters", "queues": []}
        names = {"audit_project": f"{name}-{HOME}-{REGION}", "function_role": f"{name}-fc", "deployment": name}
        shared, deployed_world = self.cloud.world, msgspec.structs.replace(self.cloud.world, **queues, **names)
        self.cloud.world, self.prefix = deployed_world, name
        self.policy_path = self.policy_path.with_name(f"{name}.yaml")
        self._written = {**POLICY, "deployment": name, "accounts": accounts}
        if not self.policy_path.exists():
            self.policy()
            worlds.shipped_roles(self.cloud, deployed_world, accounts, name)
            worlds.queues_and_log(self.cloud, deployed_world)
        self._function_keys = self._issue()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compose, "_memory", Memory())
            for key, value in {
                "LINK_PEER_POLICY": str(self.policy_path),
                "LINK_PEER_PREFIX": name,
                "LINK_PEER_TAG_PREFIX": name,
                "LINK_PEER_AUDIT_PROJECT": deployed_world.audit_project,
                "LINK_PEER_QUEUE": deployed_world.queue,
            }.items():
                patch.setenv(key, value)
            yield
        self.cloud.world = shared
        vars(self).update(before, _events=self._events)

    # the world

    def policy(self, **changes: Any) -> None:
        """Writes the policy file, with these top-level keys replaced."""
        self._write({**self._written, **changes})

    def policy_account(self, account: str, **changes: Any) -> None:
        """The policy file with more said of one account."""
        text = yaml.safe_load(self.policy_path.read_text(encoding="utf-8"))
        text["accounts"][account] = {**text["accounts"][account], **changes}
        self._write(text)

    def _write(self, policy: dict[str, Any]) -> None:
        self.policy_path.write_text(_yaml(json.dumps(policy)), encoding="utf-8")

    def publish(self, *, version: str = "", paused: bool = False) -> str:
        """Deploys the functions with a package of the policy file as it is, but for its pause, and of this version of
        link-peer, by default the one that is installed. The triggers invoke it from now on. Returns the number of the
        sweep's version."""
        text = yaml.safe_dump({**yaml.safe_load(self.policy_path.read_bytes()), "paused": True}).encode()
        with zipfile.ZipFile(packed := io.BytesIO(), "w") as package:
            package.writestr(policy_file.NAME, text if paused else self.policy_path.read_bytes())
            package.writestr(VERSION_FILE, version or metadata.version("link-peer"))
        code = unpack({"zipFile": base64.b64encode(packed.getvalue()).decode()})
        if not self.cloud.fc.functions(HOME):
            self.cloud.world.policy, self.cloud.endpoint = str(self.policy_path), "http://127.0.0.1:1"
            deploy(self.cloud, in_process=True)
        fc = self.cloud.fc
        for deployed in fc.functions(HOME):
            with fc.locked(HOME, deployed.function.name) as locked:
                settings = {"triggers": tuple(placed.trigger for placed in locked.triggers.values())}
            fc.deploy(HOME, replace(deployed.function, code=code, async_qualifier="live", **settings))
        with fc.locked(HOME, "link-peer-sweep") as locked:
            return locked.published.aliases["live"].version

    def roll_back(self, version: str) -> None:
        """Moves the alias of each function to a version, as `s alias publish` does."""
        for deployed in self.cloud.fc.functions(HOME):
            with self.cloud.fc.locked(HOME, deployed.function.name) as locked:
                locked.published.update_alias("live", version, None, {}, self.cloud.fc.now())

    def group(self, *accepts: str, account: str = HOME, vpc: str = "", **fields: Any) -> Group:
        """Creates a group in the shared VPC, with these `link-accept` entries."""
        tags = {"link-accept": " ".join(accepts)} if accepts else {}
        tags |= fields.pop("tags", {})
        return self.cloud.ecs.create_group(account, vpc or self.shared, tags=self._own_keys(tags), **fields)

    def pair(self) -> tuple[Group, Group]:
        """Creates a group in each account, in the shared VPC; each accepts all traffic from the other account."""
        return self.group(f"*@{PEER}"), self.group(f"*@{HOME}", account=PEER)

    def instance(self, *groups: Group, tags: dict[str, str] | None = None, **fields: Any) -> Instance:
        own_tags = self._own_keys(tags or {})
        return self.cloud.ecs.create_instance(groups[0].account, [g.id for g in groups], tags=own_tags, **fields)

    def started(self, *groups: Group, **fields: Any) -> Instance:
        """Creates an instance, and delivers the event of its start."""
        instance = self.instance(*groups, **fields)
        self.auto_link(self.event(instance))
        return instance

    def retag(self, instance: Instance, **tags: str | None) -> dict[str, int]:
        """Sets tags or removes them, as `tag` does, and delivers the event: its outcomes."""
        self.tag(instance, **tags)
        return self.auto_link(self.tag_event(instance))

    def _own_keys(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Tags with this deployment's keys in place of the default ones."""
        return {key.replace("link-", f"{self.prefix}-", 1): value for key, value in tags.items()}

    def linked(self, account: str = HOME, ports: str = ":tcp/1") -> tuple[Instance, Group, Group]:
        """Creates an instance, its group and the group it is linked to by tag, all in one account."""
        app, db = self.group("*", account=account), self.group("*", account=account)
        instance = self.instance(app, tags={"link-peer": f"{db.id}{ports}"})
        self.sweep()
        assert self.rules(db) != []
        return instance, app, db

    def release(self, instance: Instance) -> None:
        """Releases an instance, as a person."""
        self.call(instance.account, "DeleteInstance", {"InstanceId": instance.id, "Force": "true"})

    def revoke(self, group: Group, direction: str = "ingress") -> None:
        """Removes the group's first rule, as a person."""
        rule_id = self.raw_rules(group, direction)[0]["SecurityGroupRuleId"]
        params = {"SecurityGroupId": group.id, "SecurityGroupRuleId.1": rule_id}
        self.call(group.account, "RevokeSecurityGroup" + ("Egress" if direction == "egress" else ""), params)

    def tag(self, thing: Group | Instance, **tags: str | None) -> None:
        """Sets tags (`link_peer="sg-…"`; `_` becomes `-`), or removes them with None."""
        kind = "securitygroup" if isinstance(thing, Group) else "instance"
        for name, value in tags.items():
            base = {"ResourceType": kind, "ResourceId.1": thing.id}
            (key,) = self._own_keys({name.replace("_", "-"): ""})
            if value is None:
                self.call(thing.account, "UntagResources", {**base, "TagKey.1": key})
            else:
                self.call(thing.account, "TagResources", {**base, "Tag.1.Key": key, "Tag.1.Value": value})

    def call(self, account: str, action: str, params: dict[str, str]) -> dict[str, Any]:
        """Makes an ECS call as the account's administrator."""
        caller = Caller(account, f"acs:ram::{account}:root")
        return self.cloud.ecs.call(caller, action, {"RegionId": REGION, **params})

    def call_and_deliver(self, instance: Instance, action: str, **params: str) -> dict[str, int]:
        """Makes a call about an instance, or the interface that `params` name, as a person, and delivers the events of
        it that the shipped rules of EventBridge match: the outcomes of all."""
        event_list: list[dict[str, Any]] = []
        published, self.cloud.ecs.on_event = self.cloud.ecs.on_event, lambda _account, event: event_list.append(event)
        about = {} if "NetworkInterfaceId" in params else {"InstanceId": instance.id}
        self.call(instance.account, action, {**about, **params})
        self.cloud.ecs.on_event = published
        patterns = [Pattern(json.dumps(pattern)) for pattern in EVENT_RULES.values()]
        events = [on_bus(event, self.cloud.knobs.trail_resources) for event in event_list]
        outcomes: Counter[str] = Counter()
        for event in events:
            if any(pattern.matches(event) for pattern in patterns):
                outcomes.update(self.auto_link(event))
        return dict(outcomes)

    def authorize(self, group: Group, **permission: str) -> str:
        """Adds a rule as a person; returns its id."""
        before = {rule["SecurityGroupRuleId"] for rule in self.raw_rules(group)}
        params = {f"Permissions.1.{name}": value for name, value in permission.items()}
        self.call(group.account, "AuthorizeSecurityGroup", {"SecurityGroupId": group.id, **params})
        return next(r["SecurityGroupRuleId"] for r in self.raw_rules(group) if r["SecurityGroupRuleId"] not in before)

    def fill(self, group: Group, rules: int, sources: int = 20) -> None:
        """Adds so many rules as a person, whose sources are that many groups at most."""
        groups = [self.group(account=group.account) for _ in range(min(rules, sources))]
        for port in range(1, rules + 1):
            source = groups[port % len(groups)]
            self.authorize(group, IpProtocol="UDP", PortRange=f"{port}/{port}", SourceGroupId=source.id)

    def crowded(self, group: Group, rules: int) -> None:
        """Adds so many rules as a person, each for an address of its own."""
        for start in range(0, rules, 100):
            params = {"SecurityGroupId": group.id}
            for n in range(start, min(start + 100, rules)):
                permission = {"IpProtocol": "TCP", "PortRange": "1/1", "SourceCidrIp": f"10.9.{n // 250}.{n % 250}"}
                params |= {f"Permissions.{n - start + 1}.{name}": value for name, value in permission.items()}
            self.call(group.account, "AuthorizeSecurityGroup", params)

    def modify(self, group: Group, rule: dict[str, Any], **changes: str) -> None:
        """Changes a rule, as a person."""
        params = {"SecurityGroupId": group.id, "SecurityGroupRuleId": rule["SecurityGroupRuleId"]}
        self.call(group.account, "ModifySecurityGroupRule", {**params, **changes})

    def raw_rules(self, group: Group, direction: str = "ingress") -> list[dict[str, Any]]:
        params = {"SecurityGroupId": group.id, "Direction": direction}
        permissions: list[dict[str, Any]] = self.call(group.account, "DescribeSecurityGroupAttribute", params)[
            "Permissions"
        ]["Permission"]
        return permissions

    def rules(self, group: Group) -> list[str]:
        """The rules of a group as `sg-… tcp/3306` or `10.2.0.1/32>10.2.0.2/32 all`, sorted; masks by the knob are
        added."""
        return sorted(text for text, _ in self.rules_of(group))

    def rules_of(self, group: Group) -> list[tuple[str, dict[str, Any]]]:
        """Each rule as `rules` shows it, with all of its fields."""
        rules = []
        for rule in self.raw_rules(group):
            source = rule["SourceGroupId"] or f"{block(rule['SourceCidrIp'])}>{block(rule['DestCidrIp'])}"
            low, high = rule["PortRange"].split("/")
            protocol = rule["IpProtocol"].lower()
            ports = "" if low == "-1" else f"/{low}" if low == high else f"/{low}-{high}"
            rules.append((f"{source} {protocol}{ports}", rule))
        return rules

    def reasons(self, group: Group) -> list[str]:
        """The claims (`by=`) of every rule of ours on a group."""
        descriptions = [rule["Description"] for rule in self.raw_rules(group)]
        return sorted(d.split("by=")[1].split(" ")[0] for d in descriptions if d.startswith("link-peer/2 "))

    def rule_id(self, group: Group, source: Group, port: str) -> str:
        """The id in the marker of our rule for this source and port."""
        return RuleKey(party(group), str(party(source)), "", parse_port(port)).id(HOME, "prod", REGION)

    def forget(self) -> None:
        """What the functions' process remembers is lost, as when Function Compute starts another."""
        self._monkeypatch.setattr(compose, "_memory", Memory())

    def tags(self, thing: Group | Instance) -> dict[str, str]:
        """The current tags."""
        return dict(thing.tags.at(self.cloud.clock.now()))

    def meanwhile(self, action: str, happens: Callable[[], object], skip: int = 0, *, after: bool = False) -> None:
        """Runs `happens` once, right before (or `after`) the next such ECS call is carried out; `skip` calls pass
        first."""
        carry_out, passed = self.cloud.ecs.call, itertools.count()

        def call(caller: Caller, called: str, *args: Any, **options: Any) -> dict[str, Any]:
            if called != action or next(passed) < skip:
                return carry_out(caller, called, *args, **options)
            self.cloud.ecs.call = carry_out  # type: ignore[method-assign]
            if not after:
                happens()
            answer = carry_out(caller, called, *args, **options)
            if after:
                happens()
            return answer

        self.cloud.ecs.call = call  # type: ignore[method-assign]

    def leave_out(self, instance: Instance) -> None:
        """The next DescribeInstances that would show this instance omits it, once."""
        carry_out = self.cloud.ecs.call

        def call(caller: Caller, called: str, *args: Any, **options: Any) -> dict[str, Any]:
            answer = carry_out(caller, called, *args, **options)
            instances = answer["Instances"]["Instance"] if called == "DescribeInstances" else []
            if any(listed_instance["InstanceId"] == instance.id for listed_instance in instances):
                self.cloud.ecs.call = carry_out  # type: ignore[method-assign]
                answer["Instances"]["Instance"] = [
                    listed_instance for listed_instance in instances if listed_instance["InstanceId"] != instance.id
                ]
            return answer

        self.cloud.ecs.call = call  # type: ignore[method-assign]

    def fault(self, **fault: Any) -> None:
        self.cloud.faults.add(Fault(**fault))

    # the functions

    def event(self, instance: Instance | str, state: str = "Running", **fields: Any) -> dict[str, Any]:
        """A state change event with the current time, as EventBridge delivers it."""
        self._events += 1
        content = {
            "resourceId": instance if isinstance(instance, str) else instance.id,
            "resourceType": "ALIYUN::ECS::Instance",
            "state": state,
        }
        return {
            "id": f"event-{self._events}",
            "source": "acs.ecs",
            "specversion": "1.0",
            "type": "ecs:Instance:StateChange",
            "subject": f"acs.ecs:{REGION}:{HOME}:1",
            "time": self.iso(),
            "aliyunaccountid": HOME,
            "aliyunregionid": REGION,
            "data": {"content": content} if self.cloud.knobs.state_content == "data.content" else content,
            **fields,
        }

    def tag_event(self, instance: Instance, name: str = "UntagResources") -> dict[str, Any]:
        """A tag change as ActionTrail reports it."""
        return self._trail_event(name, "instance", "ACS::ECS::Instance", instance.id)

    def group_event(self, group: Group, name: str = "TagResources") -> dict[str, Any]:
        """A change of a group's tags as ActionTrail reports it."""
        return self._trail_event(name, "securitygroup", "ACS::ECS::SecurityGroup", group.id)

    def _trail_event(self, name: str, kind: str, type_: str, resource: str) -> dict[str, Any]:
        event = self.event(resource, type="ecs:ActionTrail:ApiCall")
        event["data"] = {
            "eventName": name,
            "eventRW": "Write",
            "serviceName": "Ecs",
            "acsRegion": REGION,
            "referencedResources": {type_: [resource]},
            "requestParameters": {"ResourceType": kind, "ResourceId.1": resource},
        }
        return on_bus(event, self.cloud.knobs.trail_resources)

    def forge(self, group: Group, source: Group, by: str, port: str = "all") -> None:
        """Writes a rule with a marker of ours by hand, as anyone who may write rules can."""
        key = RuleKey(party(group), str(party(source)), "", parse_port(port) if port != "all" else ALL)
        rule_id = key.id(HOME, "prod", REGION)
        fields = {
            "IpProtocol": key.port.protocol.upper(),
            "PortRange": key.port.range,
            "SourceGroupId": source.id,
            "Priority": "100",
            "Policy": "accept",
            "NicType": "intranet",
            "Description": f"link-peer/2 dep=prod home={HOME} id={rule_id} by={by}",
        }
        if source.account != group.account:
            fields["SourceGroupOwnerId"] = source.account
        self.authorize(group, **fields)

    def iso(self, seconds: float = 0) -> str:
        moment = datetime.fromtimestamp(self.cloud.clock.now() + seconds, timezone.utc)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def iso_millis(self, seconds: float = 0) -> str:
        """The same with milliseconds, as records and the functions' own messages have it."""
        return iso_millis(self.cloud.clock.now() + seconds)

    def auto_link(self, *events: Any) -> dict[str, int]:
        """Runs the function on one event, or on an array of them."""
        self._tick()
        body = events[0] if len(events) == 1 else list(events)
        answer: dict[str, int] = json.loads(self.run(auto_link.handler, json.dumps(body).encode()))["outcomes"]
        return answer

    def request(self, source: Any, target: Any, *ports: str, action: str = "link", **fields: Any) -> dict[str, Any]:
        """A request as a person writes it."""
        request: dict[str, Any] = {
            "version": 1,
            "request_id": "chg-1",
            "action": action,
            "region": REGION,
            "from": {"account": source.account, "party": source.id},
            "to": {"account": target.account, "party": target.id},
            "expires_at": self.iso(3600),
        }
        if ports:
            request["ports"] = list(ports)
        return {**request, **fields}

    def message(self, body: Any, queue: str = "link-peer-requests") -> dict[str, Any]:
        """A message of a queue of home, as the stream pushes it."""
        self._events += 1
        return {
            "id": f"message-{self._events}",
            "source": "MNS-link-peer",
            "specversion": "1.0",
            "type": "mns:Queue:SendMessage",
            "subject": f"acs:mns:{REGION}:{HOME}:{self.cloud.knobs.queue_subject}{queue}",
            "time": self.iso(),
            "aliyunaccountid": HOME,
            "data": {
                "requestId": f"r-{self._events}",
                "messageId": f"m-{self._events}",
                "messageBody": body if isinstance(body, str) else json.dumps(body),
            },
        }

    def cross_account(self, *bodies: Any, queue: str = "link-peer-requests") -> dict[str, int]:
        """Runs the function on an array of messages with these bodies, which came through a queue."""
        self._tick()
        event = [self.message(body, queue) for body in bodies]
        answer: dict[str, int] = json.loads(self.run(cross_account.handler, json.dumps(event).encode()))["outcomes"]
        return answer

    def _tick(self) -> None:
        """Moves the clock, so that records of two deliveries have different times."""
        self.cloud.clock.sleep(0.001)

    def sweep(self) -> dict[str, int]:
        self._tick()
        if self.by_account:
            outcomes: Counter[str] = Counter()
            for account in yaml.safe_load(self.policy_path.read_text(encoding="utf-8"))["accounts"]:
                outcomes.update(self.sweep_account(account))
            return dict(outcomes)
        event = {"triggerTime": self.iso(), "triggerName": "every-10m", "payload": ""}
        answer: dict[str, int] = json.loads(self.run(sweep.handler, json.dumps(event).encode()))["outcomes"]
        return answer

    def sweep_account(self, account: str) -> dict[str, int]:
        """Delivers a message of the queue of sweeps."""
        self._tick()
        body = {"version": 1, "action": "sweep", "region": REGION, "account": account, "posted_at": self.iso()}
        event = json.dumps([self.message(body, "link-peer-sweeps")]).encode()
        answer: dict[str, int] = json.loads(self.run(sweep.handler, event))["outcomes"]
        return answer

    def function_keys(self) -> dict[str, str]:
        """The environment that Function Compute sets: keys of the functions' role."""
        return {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self._function_keys.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self._function_keys.secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": str(self._function_keys.token),
        }

    def run(self, handler: Callable[[bytes, Any], str], event: bytes) -> str:
        """Runs a handler with keys of the functions' role, which Function Compute gives it in place of the person's."""
        theirs = os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID") == self._person
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.function_keys().items() if theirs else ():
                patch.setenv(name, value)
            return handler(event, self.context)

    def queued(self, queue: str = "", after: float = 0) -> list[dict[str, Any]]:
        """Receives and deletes the messages in a queue, those that become visible within `after` seconds too."""
        if after:
            self.cloud.clock.advance(after)
        queue = queue or self.cloud.world.queue
        bodies: list[dict[str, Any]] = []
        while messages := self.cloud.mns.receive(HOME, queue, max_n=16):
            for message in messages:
                self.cloud.mns.delete(HOME, queue, message.receipt_handle)
            bodies += [json.loads(base64.b64decode(message.body)) for message in messages]
        return bodies

    def look(self, thing: Group | Instance | str, expires_at: str) -> dict[str, Any]:
        """The message by which auto_link has a party of home looked at again."""
        name = thing if isinstance(thing, str) else thing.id
        return {
            "version": 1,
            "request_id": f"look-{name}"[:48],
            "action": "look",
            "region": REGION,
            "party": {"account": HOME, "party": name},
            "expires_at": expires_at,
        }

    def drain(self, seconds: float = 600) -> dict[str, int]:
        """Delivers what the queue holds, and what becomes visible within so many seconds, one message at a time."""
        outcomes: Counter[str] = Counter()
        end = self.cloud.clock.now() + seconds
        while self.cloud.clock.now() < end:
            for body in self.queued(after=10):
                outcomes.update(self.cross_account(body))
        return dict(outcomes)

    # records and calls

    def records(self, *kinds: str, **fields: str) -> list[dict[str, str]]:
        """Audit records in order: of these kinds (default `outcome`), with these field values."""
        world = self.cloud.world
        now = int(time.time()) + 10**9
        logs: list[dict[str, str]] = []
        for store in (world.audit_logstore, f"{world.audit_logstore}-operators"):
            for offset in itertools.count(0, 100):
                page = self.cloud.sls.search(HOME, world.audit_project, store, 0, now, offset=offset).logs
                logs += page
                if len(page) < 100:
                    break
        records = []
        for log in sorted(logs, key=lambda log: log["time"]):
            record = {k: v for k, v in log.items() if not k.startswith("__")}
            if record.get("record") in (kinds or ("outcome",)) and all(record.get(k) == v for k, v in fields.items()):
                records.append(record)
        return records

    def outcome(self) -> dict[str, str]:
        """The latest outcome."""
        return self.records()[-1]

    def summary(self) -> dict[str, str]:
        """The latest summaries of the accounts as one: the worst outcome, the numbers of all, and each detail."""
        accounts = {record["account"]: record for record in self.records("summary", scope="account", function="sweep")}
        order = ("unchanged", "applied", "failed")
        summaries = sorted(accounts.values(), key=lambda summary: order.index(summary["outcome"]))
        names = ("instances", "groups", "held", "removed", "changed", "denied")
        numbers = {name: str(sum(int(summary[name]) for summary in summaries)) for name in names}
        counts = sum((Counter(json.loads(summary["counts"])) for summary in summaries), Counter[str]())
        details = dict.fromkeys(filter(None, (summary.get("detail") for summary in summaries)))
        return {**summaries[-1], **numbers, "counts": json.dumps(counts), "detail": "; ".join(details)}

    def calls(self) -> int:
        """The number of calls the functions have made so far, to any service."""
        return len(self.cloud.faults.calls)

    def interrupt(self, call: int, interruption: Callable[[], object]) -> Callable[[], bool]:
        """Calls `interruption` right before call number `call` from now on; the result says if that call was
        reached."""
        handle = self.cloud.handle
        counted = 0

        def between(request: Request) -> Response:
            nonlocal counted
            counted += 1
            if counted == call + 1:
                self.cloud.handle = handle  # type: ignore[method-assign]
                interruption()
            return handle(request)

        self.cloud.handle = between  # type: ignore[method-assign]
        return lambda: counted > call

    def changes(self) -> int:
        """The number of changing ECS calls the functions have made so far; where tags are refused, those change
        nothing."""
        writes = ["AuthorizeSecurityGroup", "RevokeSecurityGroup", "ModifySecurityGroupRule"]
        writes += ["AuthorizeSecurityGroupEgress", "RevokeSecurityGroupEgress", "ModifySecurityGroupEgressRule"]
        if self.cloud.knobs.request_tags:
            writes += ["TagResources", "UntagResources"]
        return sum(self.cloud.faults.count("ecs", action) for action in writes)


def reads(call: Call) -> bool:
    """Whether a call changes nothing."""
    return call.action.startswith(("Describe", "List", "Get", "AssumeRole"))


def deaths(calls: Iterable[Call]) -> Iterator[dict[str, Any]]:
    """The faults that end the process of a run which makes these calls: before the first, and after each that changes
    something. A read leaves everything as it was before it."""
    yield {"kind": "kill"}
    for number, call in enumerate(calls):
        if not reads(call):
            yield {"kind": "kill-after", "skip": number}


def party(thing: Group | Instance) -> Party:
    return parse_party(thing.id, thing.account)
