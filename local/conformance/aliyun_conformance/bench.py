"""What rows work with: the account under test, and throw-away resources in it that are removed again, whatever happens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from aliyun.log import IndexConfig, IndexKeyConfig, IndexLineConfig
from aliyun.log.putlogsrequest import PutLogsRequest
from mns.mns_exception import MNSServerException
from mns.queue import QueueMeta

from aliyun_conformance import leftovers
from aliyun_conformance.errors import CloudError
from aliyun_conformance.journal import Journal, Resource
from aliyun_conformance.question import Need, NotAnswered
from aliyun_conformance.sdks import code_of

if TYPE_CHECKING:
    from aliyun_conformance.sdks import Sdks

MARK = ("cloud-selftest", "yes")
"""The tag of a security group by which an account's owner permits the selftest, in that group's VPC."""

SHOWN_SECONDS = 30.0  # a change that is not shown by then counts as not made
BOOT_SECONDS = 300.0
POLL_SECONDS = 1.0
AUTO_RELEASE_SECONDS = 3 * 3600  # instances end by themselves, should even --clean-up be forgotten

PERMISSION = {
    "ip_protocol": "TCP",
    "port_range": "3306/3306",
    "policy": "accept",
    "priority": "100",
    "nic_type": "intranet",
}
"""A permission but for its source."""


class Options(msgspec.Struct, frozen=True):
    """What a person gave on the command line."""

    prefix: str = "cloud"
    vpc: str = ""
    instances: bool = False
    image: str = ""
    instance_type: str = ""
    vswitch: str = ""
    role: str = ""
    peer: str = ""
    peer_role: str = ""
    external_id: str = ""
    peer_through: str = ""
    event_seconds: float = 600.0


class Observation(msgspec.Struct, frozen=True):
    """What a question saw: in words, and figures for the report."""

    text: str = ""
    facts: Mapping[str, Any] = {}


class Peer(msgspec.Struct, frozen=True):
    """The other account: its uid, and a marked group of it in the VPC under test (empty if it shows none)."""

    account: str
    group: str


class Pair(msgspec.Struct, frozen=True):
    """Two running instances, each in a group of its own: `a` tries to reach `b`."""

    group_a: str
    group_b: str
    a: str
    b: str
    address: str


class Bench:
    """One run on one account. `sdks` acts with the person's own keys."""

    def __init__(self, sdks: Sdks, options: Options, journal: Journal, account: str, run: str) -> None:
        self.sdks = sdks
        self.options = options
        self.journal = journal
        self.account = account
        self.run = run
        self.clock = sdks.clock
        self.models = sdks.ecs.models
        self.region = sdks.settings.region
        self.vpcs = marked_vpcs(sdks)
        self.vpc = options.vpc or next(iter(sorted(self.vpcs)), "")
        self.observation = Observation()
        self._kept_ids: set[str] = set()
        self._shared: dict[str, Any] = {}
        self._count = 0

    def lacking(self, needs: Sequence[Need]) -> str:
        """Why rows with these needs cannot be answered; empty if they can."""
        availability = {
            Need.INSTANCES: self.options.instances,
            Need.SECOND_VPC: len(self.vpcs) > 1,
            Need.PEER: bool(self.options.peer),
            Need.ROLE: bool(self.options.role),
            Need.INTERFACES: bool(self.options.vswitch),
        }
        return ", ".join(need.value for need in Need if need in needs and not availability[need])

    def saw(self, text: str, facts: Mapping[str, Any] | None = None) -> None:
        """Note for the report what the cloud did."""
        self.observation = Observation(text, facts or {})

    # throw-away resources

    def group(
        self, kind: str = "normal", tags: Mapping[str, str] | None = None, sdks: Sdks | None = None, **fields: Any
    ) -> str:
        """Create a security group, with other fields of CreateSecurityGroup, and return its id."""
        tag = self.models.CreateSecurityGroupRequestTag

        def create(name: str, run_tags: Mapping[str, str]) -> str:
            group_tags = [tag(key=key, value=value) for key, value in {**run_tags, **(tags or {})}.items()]
            usual = {"security_group_name": name, "vpc_id": self.vpc, "security_group_type": kind, "tag": group_tags}
            return str((sdks or self.sdks).ask("create_security_group", **{**usual, **fields}).security_group_id)

        return self.create("group", create)

    def instance(self, *groups: str, tags: Mapping[str, str] | None = None) -> str:
        """Launch an instance and return its id, without waiting for it."""
        return self.create("instance", lambda name, run_tags: self._launch(name, {**run_tags, **(tags or {})}, groups))

    def interface(self, group: str, secondary: int = 0) -> Any:
        """Create a network interface with so many secondary addresses; return it as DescribeNetworkInterfaces shows it."""
        interface_id = self.create("interface", lambda name, tags: self._create_interface(name, tags, group, secondary))

        def read() -> list[Any]:
            body = self.sdks.ask("describe_network_interfaces", network_interface_id=[interface_id], max_results=10)
            return list(body.network_interface_sets.network_interface_set or [])

        return self.until(read, bool)[0]

    def queue(self, name: str = "", **attributes: int) -> str:
        """Create a queue with attributes of QueueMeta, and return its name."""
        meta = QueueMeta(**attributes)
        return self.create(
            "queue",
            lambda default_name, _: self.queue_client(name or default_name).create(meta) and (name or default_name),
        )

    def queue_client(self, name: str, sdks: Sdks | None = None) -> Any:
        """The MNS client of one queue."""
        return (sdks or self.sdks).queues(self.account).get_queue(name)

    def project(self, name: str = "") -> str:
        """Create a log project and return its name."""

        def create(default_name: str, _: Mapping[str, str]) -> str:
            self.sdks.log.create_project(name or default_name, "aliyun-selftest: throw-away")
            return name or default_name

        return self.create("project", create)

    def logstore(self, *text_fields: str) -> tuple[str, str]:
        """Create a log project with a logstore that has an index of these fields, and wait until the logstore is there."""
        project, name, tokens = self.project(), "rows", [",", " ", ":"]
        log = self.sdks.log
        self.retry(lambda: log.create_logstore(project, name, ttl=1, shard_count=1))
        keys = {field: IndexKeyConfig(tokens, doc_value=True) for field in text_fields}
        index = IndexConfig(line_config=IndexLineConfig(tokens), key_config_list=keys)
        self.retry(lambda: log.create_index(project, name, index))
        return project, name

    def put_logs(self, project: str, logstore: str, items: Sequence[Any]) -> None:
        """Write log items; a new logstore takes a while to accept any."""
        request = PutLogsRequest(project, logstore, "selftest", "selftest", list(items))
        self.retry(lambda: self.sdks.log.put_logs(request))

    def create(self, kind: str, create: Callable[[str, Mapping[str, str]], Any]) -> str:
        """Note a resource in the journal, create it, and note its id."""
        self._count += 1
        name = leftovers.name(self.options.prefix, self.run, self._count)
        planned = self.journal.plan(Resource(kind, name, self.account, self.region, self.run))
        try:
            resource_id = str(create(name, {leftovers.RUN_TAG: self.run}))
        except (CloudError, MNSServerException):  # refused for good: it does not exist
            self.journal.note_deleted(planned)
            raise
        self.journal.note_created(planned, resource_id)
        return resource_id

    def _launch(self, name: str, tags: Mapping[str, str], groups: Sequence[str]) -> str:
        ends = time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(self.clock.now() + AUTO_RELEASE_SECONDS))
        body = self.sdks.ask(
            "run_instances",
            instance_name=name,
            image_id=self.options.image,
            instance_type=self.options.instance_type,
            v_switch_id=self.options.vswitch,
            security_group_ids=list(groups),
            auto_release_time=ends,
            amount=1,
            tag=[self.models.RunInstancesRequestTag(key=k, value=v) for k, v in tags.items()],
        )
        return str(body.instance_id_sets.instance_id_set[0])

    def _create_interface(self, name: str, tags: Mapping[str, str], group: str, secondary: int) -> str:
        body = self.sdks.ask(
            "create_network_interface",
            network_interface_name=name,
            v_switch_id=self.options.vswitch,
            security_group_id=group,
            secondary_private_ip_address_count=secondary or None,
            tag=[self.models.CreateNetworkInterfaceRequestTag(key=k, value=v) for k, v in tags.items()],
        )
        return str(body.network_interface_id)

    # rules

    def authorize(self, group: str, *permissions: Mapping[str, Any], sdks: Sdks | None = None, token: str = "") -> None:
        """Add ingress rules: each permission is what differs from PERMISSION; None leaves a field out."""
        request_permissions = [
            self.models.AuthorizeSecurityGroupRequestPermissions(**{**PERMISSION, **fields}) for fields in permissions
        ]
        (sdks or self.sdks).ask(
            "authorize_security_group",
            security_group_id=group,
            permissions=request_permissions,
            client_token=token or None,
        )

    def authorize_egress(self, group: str, **fields: Any) -> None:
        """Add an egress rule: what differs from PERMISSION, such as its destination."""
        permission = self.models.AuthorizeSecurityGroupEgressRequestPermissions(**{**PERMISSION, **fields})
        self.sdks.ask("authorize_security_group_egress", security_group_id=group, permissions=[permission])

    def modify(self, group: str, rule_id: str, *, egress: bool = False, **fields: Any) -> None:
        """Change fields of an ingress or an egress rule."""
        params = {"security_group_id": group, "security_group_rule_id": rule_id, **fields}
        self.sdks.ask(f"modify_security_group{'_egress' if egress else ''}_rule", **params)

    def rules(self, group: str, least: int = 0, direction: str | None = "ingress") -> list[Any]:
        """Return a group's rules, as soon as there are `least` of them and two reads agree. None asks for no direction."""
        before: list[str] = ["unread"]

        def settled(rules: list[Any]) -> bool:
            nonlocal before
            now = sorted(f"{rule.security_group_rule_id} {rule.description}" for rule in rules)
            is_stable, before = now == before, now
            return is_stable and len(rules) >= least

        settled_rules: list[Any] = self.until(lambda: self.shown_rules(group, direction), settled)
        return settled_rules

    def shown_rules(self, group: str, direction: str | None = "ingress") -> list[Any]:
        """One read of a group's rules, without waiting for anything."""
        body = self.sdks.ask("describe_security_group_attribute", security_group_id=group, direction=direction)
        return list(body.permissions.permission or [])

    def only_rule(self, group: str) -> Any:
        """Return a group's single rule. Raises NotAnswered if it has none or several."""
        rules = self.rules(group, 1)
        if len(rules) != 1:
            raise NotAnswered(f"{len(rules)} rules where one was expected")
        return rules[0]

    def revoke(self, group: str, *rule_ids: str, egress: bool = False) -> None:
        """Remove ingress or egress rules by id."""
        operation = f"revoke_security_group{'_egress' if egress else ''}"
        self.sdks.ask(operation, security_group_id=group, security_group_rule_id=list(rule_ids))

    def clear(self, *groups: str) -> None:
        """Remove every rule of these throw-away groups, and wait until none is shown."""
        for group in groups:
            leftovers.revoke_all(self.sdks, group)
            self.until(lambda group=group: self.shown_rules(group, "all"), lambda rules: not rules)  # type: ignore[misc]

    def described(self, *groups: str) -> list[Any]:
        """Return groups as DescribeSecurityGroups shows them."""
        body = self.sdks.ask("describe_security_groups", security_group_ids=json.dumps(groups), max_results=100)
        return list(body.security_groups.security_group or [])

    # instances

    def instance_of(self, instance: str) -> Any:
        """Return an instance as DescribeInstances shows it, or None."""
        body = self.sdks.ask("describe_instances", instance_ids=json.dumps([instance]), max_results=10)
        return next(iter(body.instances.instance or []), None)

    def running(self, instance: str) -> Any:
        """Wait until an instance runs and answers Cloud Assistant, and return it."""

        def ready(candidate: Any) -> bool:
            return candidate is not None and candidate.status == "Running" and bool(address_of(candidate))

        running_instance = self.until(lambda: self.instance_of(instance), ready, BOOT_SECONDS)
        if not ready(running_instance):
            raise NotAnswered(f"{instance} did not start within {BOOT_SECONDS:.0f} seconds")
        if not self.until(lambda: self._assisted(instance), bool, BOOT_SECONDS):
            raise NotAnswered(f"Cloud Assistant of {instance} did not answer within {BOOT_SECONDS:.0f} seconds")
        return running_instance

    def _assisted(self, instance: str) -> bool:
        """Whether Cloud Assistant runs commands on an instance; its agent starts after the system."""
        try:
            return self.sdks.ecs.execute(instance, "true")[0] is not None
        except CloudError:
            return False

    def shell(self, instance: str, command: str) -> tuple[bool, str]:
        """Run a command on an instance: whether it exited with 0, and its output. False while the agent is not there."""
        try:
            code, output = self.sdks.ecs.execute(instance, command)
        except CloudError as refusal:
            return False, str(refusal)
        return code == 0, output

    def pings(self, pair: Pair, expected: bool = True) -> bool:
        """Return whether `a` reaches `b` with ping, as soon as that is as wanted, or after a while."""
        command = f"ping -c 1 -W 2 {pair.address}"
        return bool(self.until(lambda: self.shell(pair.a, command)[0], lambda through: through is expected))

    def pair(self, kind: str = "normal", *, together: bool = False) -> Pair:
        """Two running instances without rules, launched once and kept until the end: in two groups, or in one."""
        key = f"{kind} {together}"
        if key not in self._shared:
            first = self.keep(self.group(kind))
            second = first if together else self.keep(self.group(kind))
            a, b = self.keep(self.instance(first)), self.keep(self.instance(second))
            self.running(a)
            self._shared[key] = Pair(first, second, a, b, address_of(self.running(b)))
        pair: Pair = self._shared[key]
        self.clear(*{pair.group_a, pair.group_b})
        return pair

    def shared(self, key: str, make: Callable[[], Any]) -> Any:
        """Return what was made for an earlier row, or make it."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    # identities

    def session(self, *statements: Mapping[str, Any]) -> Sdks:
        """The role of --role, narrowed to what these statements allow, beside reading groups."""
        document = json.dumps({"Version": "1", "Statement": list(statements)}, separators=(",", ":"))
        return self.sdks.assume(self.options.role, f"selftest-{self.run}", policy=document)

    def doorway(self) -> Sdks:
        """The identity that may assume the peer's role: the person's keys, else the role that was named for it."""
        for role in dict.fromkeys(("", self.options.peer_through)):
            try:
                identity = self.sdks.assume(role, f"selftest-{self.run}") if role else self.sdks
                self.enter(identity, self.options.external_id)
            except CloudError:
                continue
            return identity
        raise NotAnswered(f"neither these keys nor a role of --peer-through may assume {self.options.peer_role}")

    def enter(self, identity: Sdks, external_id: str) -> Sdks:
        """A session of the peer's role. Raises CloudError if it is refused."""
        return identity.assume(self.options.peer_role, f"selftest-{self.run}", external_id)

    def peer(self) -> Peer:
        """The other account, entered through its role, and a marked group of it in the VPC under test."""
        inside = self.enter(self.doorway(), self.options.external_id)
        return Peer(self.options.peer, marked_vpcs(inside).get(self.vpc, ""))

    # waiting

    def until(self, read: Callable[[], Any], accepts: Callable[[Any], bool], seconds: float = SHOWN_SECONDS) -> Any:
        """Read every second until `done` accepts what was read, or the time is over; return the last read."""
        deadline = self.clock.now() + seconds
        while not accepts(value := read()) and self.clock.now() < deadline:
            self.clock.sleep(POLL_SECONDS)
        return value

    def seconds_until(self, read: Callable[[], bool], pause: float = 0.1, limit: float = SHOWN_SECONDS) -> float:
        """Seconds until `read` is true. AssertionError if it is not within the limit."""
        began = self.clock.now()
        while not read():
            assert self.clock.now() - began <= limit, f"not within {limit:.0f} s"
            self.clock.sleep(pause)
        return round(self.clock.now() - began, 2)

    def retry(self, send: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Repeat a call of SLS that meets a project or logstore which is not there yet."""
        result: list[Any] = []
        code = self.until(lambda: code_of(lambda: result.append(send())), lambda code: not code, seconds)
        if code:
            raise NotAnswered(f"{code} for {seconds:.0f} seconds")
        return result[0]

    # the end

    def keep(self, resource_id: str) -> str:
        """Keep a resource until the end of the run, for later rows."""
        self._kept_ids.add(resource_id)
        return resource_id

    def release(self) -> list[str]:
        """Remove what a row created, except what is kept. Returns what could not be removed, in words."""
        removable_resources = [resource for resource in self.journal.remaining() if resource.id not in self._kept_ids]
        return leftovers.remove(self.sdks, self.journal, removable_resources)

    def close(self) -> list[str]:
        """Remove everything that this run created. Returns what could not be removed, in words."""
        return leftovers.remove(self.sdks, self.journal, self.journal.remaining())


def address_of(instance: Any) -> str:
    """An instance's private address; empty if it has none yet."""
    addresses = instance.vpc_attributes and instance.vpc_attributes.private_ip_address
    return str(next(iter(addresses.ip_address or []), "")) if addresses else ""


def marked_vpcs(sdks: Sdks) -> dict[str, str]:
    """VPC to a security group in it that has the mark."""
    key, value = MARK
    tag = [sdks.ecs.models.DescribeSecurityGroupsRequestTag(key=key, value=value)]
    body = sdks.ask("describe_security_groups", tag=tag, max_results=100)
    return {str(group.vpc_id): str(group.security_group_id) for group in body.security_groups.security_group or []}
