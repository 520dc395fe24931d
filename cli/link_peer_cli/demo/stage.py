"""The stage of the demo: the cloud through the official SDKs, and checks of what is expected against what is seen.

Everything shown is read from the cloud over HTTP; the stage knows the server's address and the accounts' keys, no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from link_peer.runtime.clock import SystemClock
from link_peer.runtime.settings import Credentials, Settings
from rich.console import Console
from rich.markup import escape

from link_peer_cli.clients.ecs import PersonalEcs
from link_peer_cli.clients.fc import AUTO_LINK, WAITING, Fc3
from link_peer_cli.clients.log import AuditLog, Record, condition
from link_peer_cli.io.console import print_table

WAIT_SECONDS = 30
POLL_SECONDS = 0.1
PORT = 3306
IMAGE, TYPE = "aliyun_3_x64_20G_alibase", "ecs.e-c1m1.large"


class NotAsExpected(Exception):
    """The cloud shows something else than the story says."""


class Machine(msgspec.Struct, frozen=True):
    """An instance of the story."""

    name: str
    account: str
    id: str
    ip: str


class Stage:
    """`home` and `peer` are the two accounts; `names` are what tables call their groups and instances."""

    def __init__(self, settings: Settings, described: Mapping[str, Any], out: Console) -> None:
        self.settings = settings
        self.out = out
        self.home, self.peer = (account["id"] for account in described["accounts"])
        self.ecs = {
            account["id"]: PersonalEcs(settings, Credentials(account["access_key_id"], account["access_key_secret"]))
            for account in described["accounts"]
        }
        self.vpc = next(vpc for vpc in described["vpcs"] if vpc["shared_with"])
        self.log = AuditLog(settings, SystemClock())
        self.functions = Fc3(settings, self.home)
        self.started = time.time()
        self.names: dict[str, str] = {}
        self.machines: dict[str, Machine] = {}
        self.checks: list[dict[str, Any]] = []

    # telling

    def act(self, title: str) -> None:
        self.out.print()
        self.out.rule(f"[bold]{escape(title)}[/bold]", align="left")

    def say(self, text: str) -> None:
        self.out.print(escape(text), soft_wrap=True)

    def short(self, text: str) -> str:
        """Names in place of ids, where a table has no room for both."""
        for key, name in self.names.items():
            text = text.replace(key, name)
        return text

    def check(self, what: str, seen: object, expected: object) -> None:
        """Says that it is so, or ends the story."""
        good = seen == expected
        self.checks.append({"check": what, "seen": repr(seen), "good": good})
        self.out.print(f"  [green]✓[/green] {escape(what)}" if good else f"  [red]✗[/red] {escape(what)}")
        if not good:
            raise NotAsExpected(f"{what}: expected {expected!r}, the cloud shows {seen!r}")

    # making

    def group(self, account: str, name: str) -> str:
        """A security group in the VPC that both accounts share."""
        made = self.ecs[account].ask("create_security_group", vpc_id=self.vpc["id"], security_group_name=name)
        self.names[made.security_group_id] = name
        self.say(f"  group {name} is {made.security_group_id}, account {account}")
        return str(made.security_group_id)

    def launch(self, account: str, name: str, group: str, **tags: str) -> Machine:
        """An instance, tagged as it is launched; once it runs."""
        ecs = self.ecs[account]
        given = [ecs.models.RunInstancesRequestTag(key=k.replace("_", "-"), value=v) for k, v in tags.items()]
        made = ecs.ask(
            "run_instances",
            image_id=IMAGE,
            instance_type=TYPE,
            instance_name=name,
            security_group_id=group,
            v_switch_id=self.vpc["vswitch_id"],
            tag=given or None,
        )
        [instance] = made.instance_id_sets.instance_id_set
        self.names[instance] = name
        self.until(lambda: ecs.running(instance), f"{name} runs")
        machine = Machine(name, account, instance, ecs.address(instance))
        self.machines[name] = machine
        return machine

    # looking

    def rules(self, account: str, group: str) -> list[str]:
        """`<source> <protocol>/<port>` of every ingress rule of a group, sorted."""
        found = []
        for rule in self.ecs[account].rules(group):
            source = rule.source_group_id or rule.source_cidr_ip
            low, _, high = rule.port_range.partition("/")
            ports = "" if low == "-1" else f"/{low}" if low == high else f"/{low}-{high}"
            found.append(self.short(f"{source} {rule.ip_protocol.lower()}{ports}"))
        return sorted(found)

    def show_rules(self, *groups: tuple[str, str]) -> None:
        """The ingress rules of (account, group)s as a table, each with its marker."""
        rows = [
            (
                self.names[group],
                self.short(rule.source_group_id or rule.source_cidr_ip),
                rule.ip_protocol,
                rule.port_range,
                rule.priority,
                rule.description,
            )
            for account, group in groups
            for rule in self.ecs[account].rules(group)
        ]
        print_table(
            self.out, "ingress rules", ["group", "source", "protocol", "ports", "priority", "description"], rows
        )

    def reach(self, *names: str) -> dict[tuple[str, str], str]:
        """What gets from each of these machines to each other one, tried through Cloud Assistant: ping, and a TCP port."""
        found = {}
        for source in names:
            for dest in names:
                if source != dest:
                    through = [
                        label
                        for label, command in (
                            ("ping", f"ping -c 1 -W 1 {self.machines[dest].ip}"),
                            (str(PORT), f"nc -z -w 1 {self.machines[dest].ip} {PORT}"),
                        )
                        if self._run(source, command)
                    ]
                    found[source, dest] = " ".join(through) or "-"
        rows = [(source, *(found.get((source, dest), "") for dest in names)) for source in names]
        title = f"who reaches whom (ping, TCP {PORT}), from the row to the column"
        print_table(self.out, title, ["", *names], rows)
        return found

    def _run(self, source: str, command: str) -> bool:
        machine = self.machines[source]
        return self.ecs[machine.account].run(machine.id, command)[0]

    def outcome(self, **fields: str) -> Record:
        """The latest outcome in the audit log with these fields (`from_` stands for `from`), as soon as there is one."""
        query = condition({"record": "outcome", **{name.rstrip("_"): value for name, value in fields.items()}})
        return self.log.wait(query, bool, self.started, WAIT_SECONDS, POLL_SECONDS)[-1]

    def settle(self) -> None:
        """Waits until auto_link has dealt with every event that is on its way to it."""
        self.until(
            lambda: not any(task.status in WAITING for task in self.functions.tasks(AUTO_LINK)), "auto_link is idle"
        )

    def tell(self, record: Record) -> None:
        """An audit record in a few words."""
        reason = f" ({record['reason']})" if record.get("reason") else ""
        self.say(self.short(f"  audit: {record['outcome']}{reason}  {record.get('detail', '')}".rstrip()))
        if record.get("advice"):
            self.say(f"  advice: {record['advice']}")

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise NotAsExpected(f"after {WAIT_SECONDS} seconds it is still not so that {what}")
            time.sleep(POLL_SECONDS)
