"""The cloud of the demo, through the official SDKs, and what the demo prints and checks there.

Everything is done and read over HTTP. The stage knows nothing but the server's address and the accounts' keys.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from link_peer.runtime.clock import SystemClock
from link_peer.runtime.ports import Record
from link_peer.runtime.settings import Credentials, Settings
from link_peer_deploy.names import Names
from rich.console import Console
from rich.markup import escape

from link_peer_cli.access.ecs import PersonalEcs
from link_peer_cli.answers.operation import CloudDescribed, DemoCheck
from link_peer_cli.audit.log import AuditReader, condition
from link_peer_cli.deployed.fc import Fc3
from link_peer_cli.deployed.port import WAITING
from link_peer_cli.deployed.queue import backlog
from link_peer_cli.ui.tables import draw_table


class CheckFailed(Exception):
    """The cloud is not in the state that the demo expects."""


class Narrator:
    """Prints the demo. `names` maps ids to the names that tables and records show instead; `checks` keeps results."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self.names: dict[str, str] = {}
        self.checks: list[DemoCheck] = []

    def heading(self, title: str) -> None:
        """Start a new act."""
        self.out.print()
        self.out.rule(f"[bold]{escape(title)}[/bold]", align="left")

    def say(self, text: str) -> None:
        """Print a line."""
        self.out.print(escape(text))

    def short(self, text: str) -> str:
        """Return `text` with names in place of ids."""
        for key, name in self.names.items():
            text = text.replace(key, name)
        return text

    def check(self, description: str, actual: object, expected: object) -> None:
        """Record and print whether a check passes. Raises CheckFailed if it does not."""
        good = actual == expected
        self.checks.append(DemoCheck(description, repr(actual), good))
        self.out.print(f"  [green]✓[/green] {escape(description)}" if good else f"  [red]✗[/red] {escape(description)}")
        if not good:
            raise CheckFailed(f"{description}: expected {expected!r}, found {actual!r}")

    def show_record(self, record: Record) -> None:
        """Print the main fields of an audit record."""
        reason = f" ({record['reason']})" if record.get("reason") else ""
        self.say(self.short(f"  audit: {record['outcome']}{reason}  {record.get('detail', '')}".rstrip()))
        if record.get("advice"):
            self.say(f"  advice: {record['advice']}")


WAIT_SECONDS = 120  # generous: the demo must pass on a slow machine
POLL_SECONDS = 0.1
PORT = 3306
IMAGE, TYPE = "aliyun_3_x64_20G_alibase", "ecs.e-c1m1.large"


class Machine(msgspec.Struct, frozen=True):
    """An instance of the demo. `ip` is its private address."""

    name: str
    account: str
    id: str
    ip: str


class Stage:
    """`home` and `peer` are the uids of the two accounts; `started` is in epoch seconds."""

    def __init__(self, settings: Settings, described: CloudDescribed, out: Console) -> None:
        self.settings = settings
        self.narrator = Narrator(out)
        self.clock = SystemClock()
        self.home, self.peer = (account.id for account in described.accounts)
        self.ecs = {
            account.id: PersonalEcs(settings, Credentials(account.access_key_id, account.access_key_secret), self.clock)
            for account in described.accounts
        }
        self.vpc = next(vpc for vpc in described.vpcs if vpc.shared_with)
        self.log = AuditReader(settings, self.clock)
        self.functions = Fc3(settings, self.home)
        self.names = Names(self.home)
        self.started = self.clock.now()
        self.machines: dict[str, Machine] = {}

    def group(self, account: str, name: str) -> str:
        """Create a security group in the VPC that both accounts share, and return its id."""
        response = self.ecs[account].ask("create_security_group", vpc_id=self.vpc.id, security_group_name=name)
        self.narrator.names[response.security_group_id] = name
        self.narrator.say(f"  group {name} is {response.security_group_id}, account {account}")
        return str(response.security_group_id)

    def launch(self, account: str, name: str, group: str, **tags: str) -> Machine:
        """Launch an instance with tags and wait until it runs."""
        ecs = self.ecs[account]
        request_tags = [ecs.models.RunInstancesRequestTag(key=k.replace("_", "-"), value=v) for k, v in tags.items()]
        response = ecs.ask(
            "run_instances",
            image_id=IMAGE,
            instance_type=TYPE,
            instance_name=name,
            security_group_id=group,
            v_switch_id=self.vpc.vswitch_id,
            tag=request_tags or None,
        )
        [instance] = response.instance_id_sets.instance_id_set
        self.narrator.names[instance] = name
        self._until(lambda: ecs.running(instance), f"{name} does not run")
        machine = Machine(name, account, instance, ecs.address(instance))
        self.machines[name] = machine
        return machine

    def rules(self, account: str, group: str) -> list[str]:
        """Return `<source> <protocol>/<port>` of each ingress rule of a group, sorted."""
        summaries = []
        for rule in self.ecs[account].rules(group):
            source = rule.source_group_id or rule.source_cidr_ip
            low, _, high = rule.port_range.partition("/")
            ports = "" if low == "-1" else f"/{low}" if low == high else f"/{low}-{high}"
            summaries.append(self.narrator.short(f"{source} {rule.ip_protocol.lower()}{ports}"))
        return sorted(summaries)

    def show_rules(self, *groups: tuple[str, str]) -> None:
        """Print the ingress rules of some (account, group) pairs with their markers."""
        columns = ["group", "source", "protocol", "ports", "priority", "description"]
        rows = []
        for account, group in groups:
            for rule in self.ecs[account].rules(group):
                source = self.narrator.short(rule.source_group_id or rule.source_cidr_ip)
                written = (rule.ip_protocol, rule.port_range, rule.priority, rule.description)
                rows.append((self.narrator.names[group], source, *written))
        draw_table(self.narrator.out, "ingress rules", columns, rows)

    def reach(self, *names: str) -> dict[tuple[str, str], str]:
        """Probe each of these machines from each other one with ping and on a TCP port, through Cloud Assistant.

        Prints the result and returns what works for each (source, dest): `ping 3306`, `ping`, … or `-` for nothing.
        """
        reachability = {
            (source, dest): self._probe(source, dest) for source in names for dest in names if source != dest
        }
        rows = [(source, *(reachability.get((source, dest), "") for dest in names)) for source in names]
        title = f"what gets through from row to column (ping, TCP {PORT})"
        draw_table(self.narrator.out, title, ["", *names], rows)
        return reachability

    def _probe(self, source: str, dest: str) -> str:
        machine, ip = self.machines[source], self.machines[dest].ip
        commands = {"ping": f"ping -c 1 -W 1 {ip}", str(PORT): f"nc -z -w 1 {ip} {PORT}"}
        ecs = self.ecs[machine.account]
        return " ".join(label for label, command in commands.items() if ecs.execute(machine.id, command)[0] == 0) or "-"

    def outcome(self, **fields: str) -> Record:
        """Wait for an outcome in the audit log with these fields (`from_` stands for `from`); return the latest."""
        query = condition({"record": "outcome", **{name.rstrip("_"): value for name, value in fields.items()}})
        return self.log.wait(query, bool, self.started, WAIT_SECONDS, POLL_SECONDS)[-1]

    def wait_for_functions(self) -> None:
        """Wait until auto_link has handled every event, cross_account every message, and sweep every account.

        What one does may be an event or a message for the other, so both must have nothing to do twice in a row.
        """
        self._until(lambda: self._idle() and self._idle(), "the functions have not finished")

    def _idle(self) -> bool:
        queues = (self.settings.queue, self.names.sweep_queue)
        if any(backlog(self.settings, self.home, queue, delayed=False).count for queue in queues):
            return False
        return not any(task.status in WAITING for task in self.functions.tasks(self.names.functions["auto_link"]))

    def _until(self, predicate: Callable[[], bool], problem: str) -> None:
        deadline = self.clock.now() + WAIT_SECONDS
        while not predicate():
            if self.clock.now() > deadline:
                raise CheckFailed(f"{problem} after {WAIT_SECONDS} seconds")
            self.clock.sleep(POLL_SECONDS)
