"""The roles in the home account: of the functions, and of the people who look and operate."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from link_peer.alicloud.sdk import client_config
from link_peer.domain.errors import LinkPeerError
from link_peer_deploy.description import Role
from link_peer_deploy.documents import compact, operator_trust, principals

from link_peer_cli.answers.deployment import Caution, Fault
from link_peer_cli.setup.resource import Resource, SetupTarget, State
from link_peer_cli.setup.sdk import unless
from link_peer_cli.ui.console import warn

NO_ROLE = "EntityNotExist.Role"
NO_POLICY = "EntityNotExist.Policy"
NOT_ATTACHED = "EntityNotExist.Role.Policy"
NOT_OURS = "exists, and link-peer did not make it"
SETUP, REMOVE = "link-peer setup --adopt", "link-peer setup --remove --adopt"
VERSIONS = 5
"""How many versions RAM keeps of a policy [doc RAM quotas]."""


def resources(deployment: SetupTarget) -> list[RamPolicy | RamRole]:
    """The policies of the home account's roles, and the roles."""
    return of_roles(Ram(deployment), deployment.description.roles)


def of_roles(ram: Ram, roles: Sequence[Role]) -> list[RamPolicy | RamRole]:
    """The policies of the roles, each once, and the roles."""
    policies = {name: RamPolicy(ram, name, documents) for role in roles for name, documents in role.policies.items()}
    return [*policies.values(), *(RamRole(ram, role, [policies[name] for name in role.policies]) for role in roles)]


def take_over(command: str) -> str:
    """What a person does about a role that link-peer did not make: `command` takes it over, or deletes it."""
    return f"look at it, then delete it yourself, or run: {command}"


def not_ours(resources: Iterable[Resource], command: str, *, adopts: bool) -> Iterator[Fault | Caution]:
    """Each role among the resources that somebody else made, with what it trusts and holds: a caution if a person
    `adopts` it, else a fault. `command` is what the person would run then. Only reads."""
    for resource in resources:
        if isinstance(resource, RamRole) and (foreign := resource.foreign()):
            problem = f"{NOT_OURS}: it {foreign}"
            adopted = Caution(resource.label, f"{problem}; it counts as ours now", "detach what it should not hold")
            yield adopted if adopts else Fault(resource.label, problem, take_over(command))


def require_ours(resources: Iterable[Resource], command: str, *, adopts: bool) -> None:
    """Raise LinkPeerError that names each role which somebody else made, unless a person adopts them: then warn."""
    problems = list(not_ours(resources, command, adopts=adopts))
    if faults := [str(problem) for problem in problems if isinstance(problem, Fault)]:
        raise LinkPeerError("; ".join(faults))
    warn(map(str, problems))


class Ram:
    """RAM through its official SDK."""

    def __init__(self, deployment: SetupTarget) -> None:
        self._deployment = deployment

    @property
    def adopts(self) -> bool:
        """Whether roles that link-peer did not make are taken over."""
        return self._deployment.adopt

    @functools.cached_property
    def client(self) -> Any:
        """One client for all resources."""
        from alibabacloud_ram20150501.client import Client  # an SDK: when it is asked, since help needs none

        config = client_config(self._deployment.settings, "ram", self._deployment.settings.credentials)
        config.endpoint = config.endpoint or "ram.aliyuncs.com"
        return Client(config)

    def ask(self, operation: str, missing: Collection[str] = (), **fields: Any) -> Any:
        """The body of the answer to an operation, such as `get_role`; None if it is refused with one of the codes
        `missing`."""
        from alibabacloud_ram20150501 import models  # an SDK: when it is asked, since help needs none

        request = getattr(models, "".join(part.title() for part in operation.split("_")) + "Request")(**fields)
        answer = unless(missing, lambda: getattr(self.client, operation)(request))
        return answer and answer.body

    def detach(self, policy: str, kind: str, role: str) -> None:
        """Take a Custom or System policy from a role. It is no error if it has it no more."""
        missing = {NO_ROLE, NO_POLICY, NOT_ATTACHED}
        self.ask("detach_policy_from_role", missing, policy_name=policy, policy_type=kind, role_name=role)


def part_name(name: str, number: int) -> str:
    """The name of the policy that holds the document with this number, from 1, of one that is too long for RAM."""
    return name if number == 1 else f"{name}-{number}"


class RamPolicy(Resource):
    """A custom policy: its default version is the wanted document. A document that is too long for one policy is in
    several, of which the second has -2 after its name, and so on."""

    kind = "policy"
    of_all_regions = True

    def __init__(self, ram: Ram, name: str, documents: Sequence[Mapping[str, Any]]) -> None:
        self._ram = ram
        self.name = name
        self.documents = list(documents)

    @property
    def parts(self) -> list[str]:
        """The names of the policies that hold it."""
        return [part_name(self.name, number) for number, _ in enumerate(self.documents, 1)]

    @property
    def target_state(self) -> State:
        """Its documents."""
        return {"document": self.documents}

    def read(self) -> State | None:
        """The documents of the default versions, and which these are."""
        standing = list(self._standing())
        documents = [json.loads(version.policy_document) for version in standing]
        return {"document": documents, "versions": [version.version_id for version in standing]} if standing else None

    def create(self) -> None:
        """Create it with one version."""
        for name, document in zip(self.parts, self.documents, strict=True):
            self._put(name, document)

    def update(self) -> None:
        """Make a new default version of what differs, and delete the policies that are needed no more."""
        self.create()
        for number in range(len(self.documents) + 1, len(list(self._standing())) + 1):
            self._detach(part_name(self.name, number))
            self._delete(part_name(self.name, number))

    def delete(self) -> None:
        """Delete it with all its versions; it must not be attached any more."""
        for number in range(max(len(self.documents), len(list(self._standing()))), 0, -1):
            self._delete(part_name(self.name, number))

    def _standing(self) -> Iterator[Any]:
        """The default versions of the policy and of those numbered after it."""
        for number in itertools.count(1):
            if (version := self._default_version(part_name(self.name, number))) is None:
                return
            yield version

    def _default_version(self, name: str) -> Any:
        response = self._ram.ask("get_policy", {NO_POLICY}, policy_name=name, policy_type="Custom")
        return response and response.default_policy_version

    def _put(self, name: str, document: Mapping[str, Any]) -> None:
        """Create the policy, or make a new default version, for which the oldest of the others makes room."""
        current, text = self._default_version(name), compact(document)
        if current is None:
            self._ram.ask("create_policy", policy_name=name, policy_document=text, description="link-peer")
        elif json.loads(current.policy_document) != document:
            versions = self._versions(name)
            if len(versions) >= VERSIONS:
                self._delete_version(name, min(v for v in versions if not versions[v]))
            self._ram.ask("create_policy_version", policy_name=name, policy_document=text, set_as_default=True)

    def _detach(self, name: str) -> None:
        response = self._ram.ask("list_entities_for_policy", {NO_POLICY}, policy_name=name, policy_type="Custom")
        for role in response.roles.role if response else []:
            self._ram.detach(name, "Custom", role.role_name)

    def _delete(self, name: str) -> None:
        for number, default in sorted(self._versions(name).items()):
            if not default:
                self._delete_version(name, number)
        self._ram.ask("delete_policy", {NO_POLICY}, policy_name=name)

    def _versions(self, name: str) -> dict[int, bool]:
        """Whether it is the default one, by version number: RAM numbers versions v1, v2, … and never again."""
        response = self._ram.ask("list_policy_versions", {NO_POLICY}, policy_name=name, policy_type="Custom")
        versions = response.policy_versions.policy_version if response else []
        return {int(version.version_id.removeprefix("v")): version.is_default_version for version in versions}

    def _delete_version(self, name: str, number: int) -> None:
        missing_codes = {NO_POLICY, "EntityNotExist.Policy.Version"}
        self._ram.ask("delete_policy_version", missing_codes, policy_name=name, version_id=f"v{number}")


class RamRole(Resource):
    """A role with its trust policy. Policies that a person attached besides stay attached. Where the description names
    no operators, those stay that the operator role's trust policy names."""

    kind = "role"
    of_all_regions = True
    option = "--operators acs:ram::UID:user/NAME"

    def __init__(self, ram: Ram, role: Role, policies: Sequence[RamPolicy]) -> None:
        self._ram = ram
        self.name = role.name
        self.policies = sorted(part for policy in policies for part in policy.parts)
        self._trust = role.trust

    @property
    def lacks(self) -> str:
        """Who may assume it, where nobody is named."""
        remedy = "name who may operate: --operators acs:ram::<uid>:user/<name>, or a role"
        return "" if self._trust["Statement"] else remedy

    @property
    def target_state(self) -> State:
        """Its trust policy, and the policies of ours that are attached."""
        return {"trust": self._trust, "policies": self.policies}

    def read(self) -> State | None:
        """Its trust policy, and which of the wanted policies are attached."""
        response = self._ram.ask("get_role", {NO_ROLE}, role_name=self.name)
        if response is None:
            return None
        ours = [name for name, kind in self._attached() if kind == "Custom" and name in self.policies]
        return {"trust": json.loads(response.role.assume_role_policy_document), "policies": sorted(ours)}

    def differing(self, current: State) -> tuple[str, ...]:
        """Without operators to name, the trust policy only where it is not one that names single users and roles."""
        has_named_principals = self.lacks and current["trust"] == operator_trust(principals(current["trust"]))
        return tuple(name for name in super().differing(current) if not (has_named_principals and name == "trust"))

    def exemption(self, current: State) -> str:
        """Whom it trusts, where that is somebody's choice."""
        if not self.lacks or self.differing(current):
            return ""
        return f"trusts {', '.join(principals(current['trust']))}"

    def create(self) -> None:
        """Create it and attach its policies."""
        trust = compact(self._trust)
        self._ram.ask("create_role", role_name=self.name, assume_role_policy_document=trust, description="link-peer")
        self._attach(self.policies)

    def update(self) -> None:
        """Replace its trust policy, and attach what is not."""
        if self.lacks and not self._ram.adopts and (foreign := self.foreign()):  # its trust policy would stay
            raise LinkPeerError(f"{NOT_OURS}: it {foreign}")
        current = self.read() or {}
        if current.get("trust") != self._trust and not self.lacks:
            self._ram.ask("update_role", role_name=self.name, new_assume_role_policy_document=compact(self._trust))
        self._attach([name for name in self.policies if name not in current.get("policies", ())])

    def delete(self) -> None:
        """Detach all its policies and delete it."""
        for name, kind in self._attached():
            self._ram.detach(name, kind, self.name)
        self._ram.ask("delete_role", {NO_ROLE}, role_name=self.name)

    def foreign_policies(self) -> list[tuple[str, str]]:
        """(name, Custom or System) of the policies that a person attached besides."""
        return [(name, kind) for name, kind in self._attached() if kind != "Custom" or name not in self.policies]

    def foreign(self) -> str:
        """What a role trusts and holds that link-peer did not make; empty for one that it made, or that does not exist.

        A policy of ours marks a role, since attaching one takes more than the permission to create roles. Until the
        first is attached, the role must have the trust policy that setup writes.
        """
        current = self.read()
        if current is None or current["policies"] or (not self.lacks and current["trust"] == self._trust):
            return ""
        trusted = ", ".join(compact(statement.get("Principal", {})) for statement in current["trust"]["Statement"])
        policies = ", ".join(f"{name} ({kind})" for name, kind in self._attached())
        return f"trusts {trusted or 'nobody'}, and holds {policies or 'no policy'}"

    def _attached(self) -> list[tuple[str, str]]:
        """(name, Custom or System) of each attached policy."""
        response = self._ram.ask("list_policies_for_role", {NO_ROLE}, role_name=self.name)
        return [(p.policy_name, p.policy_type) for p in response.policies.policy] if response else []

    def _attach(self, names: list[str]) -> None:
        for name in names:
            self._ram.ask("attach_policy_to_role", policy_name=name, policy_type="Custom", role_name=self.name)
