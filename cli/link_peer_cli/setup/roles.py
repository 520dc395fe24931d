"""The roles in the home account: of the functions, and of the people who look and operate."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from link_peer.alicloud.sdk import call, client_config
from link_peer_local.ram.documents import RoleFiles, home_roles, render

from link_peer_cli.setup.resource import Deployment, Resource, State
from link_peer_cli.setup.sdk import unless

NO_ROLE = "EntityNotExist.Role"
NO_POLICY = "EntityNotExist.Policy"
NOT_ATTACHED = "EntityNotExist.Role.Policy"
VERSIONS = 5
"""How many versions RAM keeps of a policy [doc RAM quotas]."""


def resources(deployment: Deployment) -> list[Resource]:
    """The policies of the home account's roles, and the roles."""
    ram = Ram(deployment)
    values = {
        "LINK_PEER_REGION": deployment.settings.region,
        "LINK_PEER_PREFIX": deployment.names.prefix,
        "HOME_ACCOUNT": deployment.policy.home,
        "DEPLOYMENT": deployment.policy.deployment,
    }
    peers = [account.role for _, account in sorted(deployment.policy.accounts.items()) if account.role]
    roles = home_roles(deployment.names.prefix)
    files = {name: file for role in roles for name, file in role.policies.items()}
    policies = [RamPolicy(ram, name, render(file, values, peers)) for name, file in files.items()]
    return [*policies, *(RamRole(ram, role, render(role.trust, values)) for role in roles)]


class Ram:
    """RAM through its official SDK."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    @functools.cached_property
    def client(self) -> Any:
        """One client for all resources."""
        from alibabacloud_ram20150501.client import Client

        config = client_config(self._deployment.settings, "ram", self._deployment.settings.credentials)
        config.endpoint = config.endpoint or "ram.aliyuncs.com"
        return Client(config)

    @functools.cached_property
    def models(self) -> Any:
        """The SDK's requests."""
        from alibabacloud_ram20150501 import models

        return models


class RamPolicy(Resource):
    """A custom policy: its default version is the wanted document."""

    kind = "policy"

    def __init__(self, ram: Ram, name: str, document: Mapping[str, Any]) -> None:
        self._ram = ram
        self.name = name
        self._document = document

    @property
    def wanted(self) -> State:
        """Its document."""
        return {"document": self._document}

    def read(self) -> State | None:
        """The document of its default version."""
        request = self._ram.models.GetPolicyRequest(policy_name=self.name, policy_type="Custom")
        found = unless({NO_POLICY}, lambda: self._ram.client.get_policy(request))
        return found and {"document": _json(found.body.default_policy_version.policy_document)}

    def create(self) -> None:
        """Create it with one version."""
        request = self._ram.models.CreatePolicyRequest(
            policy_name=self.name, policy_document=json.dumps(self._document), description="link-peer"
        )
        call(lambda: self._ram.client.create_policy(request))

    def update(self) -> None:
        """Make a new default version. When there is no room for it, the oldest of the others is deleted first."""
        versions = self._versions()
        if len(versions) >= VERSIONS:
            self._delete_version(min(v for v in versions if not versions[v]))
        request = self._ram.models.CreatePolicyVersionRequest(
            policy_name=self.name, policy_document=json.dumps(self._document), set_as_default=True
        )
        call(lambda: self._ram.client.create_policy_version(request))

    def delete(self) -> None:
        """Delete it with all its versions; it must not be attached any more."""
        for number, default in sorted(self._versions().items()):
            if not default:
                self._delete_version(number)
        request = self._ram.models.DeletePolicyRequest(policy_name=self.name)
        unless({NO_POLICY}, lambda: self._ram.client.delete_policy(request))

    def _versions(self) -> dict[int, bool]:
        """Whether it is the default one, by version number: RAM numbers versions v1, v2, … and never again."""
        request = self._ram.models.ListPolicyVersionsRequest(policy_name=self.name, policy_type="Custom")
        found = unless({NO_POLICY}, lambda: self._ram.client.list_policy_versions(request))
        versions = found.body.policy_versions.policy_version if found else []
        return {int(version.version_id.removeprefix("v")): version.is_default_version for version in versions}

    def _delete_version(self, number: int) -> None:
        request = self._ram.models.DeletePolicyVersionRequest(policy_name=self.name, version_id=f"v{number}")
        unless({NO_POLICY, "EntityNotExist.Policy.Version"}, lambda: self._ram.client.delete_policy_version(request))


class RamRole(Resource):
    """A role with its trust policy. Policies that a person attached besides stay attached."""

    kind = "role"

    def __init__(self, ram: Ram, files: RoleFiles, trust: Mapping[str, Any]) -> None:
        self._ram = ram
        self.name = files.name
        self._policies = sorted(files.policies)
        self._trust = trust

    @property
    def wanted(self) -> State:
        """Its trust policy, and the policies of ours that are attached."""
        return {"trust": self._trust, "policies": self._policies}

    def read(self) -> State | None:
        """Its trust policy, and which of the wanted policies are attached."""
        request = self._ram.models.GetRoleRequest(role_name=self.name)
        found = unless({NO_ROLE}, lambda: self._ram.client.get_role(request))
        if found is None:
            return None
        ours = [name for name, kind in self._attached() if kind == "Custom" and name in self._policies]
        return {"trust": _json(found.body.role.assume_role_policy_document), "policies": sorted(ours)}

    def create(self) -> None:
        """Create it and attach its policies."""
        request = self._ram.models.CreateRoleRequest(
            role_name=self.name, assume_role_policy_document=json.dumps(self._trust), description="link-peer"
        )
        call(lambda: self._ram.client.create_role(request))
        self._attach(self._policies)

    def update(self) -> None:
        """Replace its trust policy, and attach what is not."""
        current = self.read() or {}
        if current.get("trust") != self._trust:
            request = self._ram.models.UpdateRoleRequest(
                role_name=self.name, new_assume_role_policy_document=json.dumps(self._trust)
            )
            call(lambda: self._ram.client.update_role(request))
        self._attach([name for name in self._policies if name not in current.get("policies", ())])

    def delete(self) -> None:
        """Detach all its policies and delete it."""
        for name, kind in self._attached():
            detach = self._ram.models.DetachPolicyFromRoleRequest(
                policy_name=name, policy_type=kind, role_name=self.name
            )
            unless(
                {NO_ROLE, NO_POLICY, NOT_ATTACHED}, functools.partial(self._ram.client.detach_policy_from_role, detach)
            )
        request = self._ram.models.DeleteRoleRequest(role_name=self.name)
        unless({NO_ROLE}, lambda: self._ram.client.delete_role(request))

    def _attached(self) -> list[tuple[str, str]]:
        """(name, Custom or System) of each attached policy."""
        request = self._ram.models.ListPoliciesForRoleRequest(role_name=self.name)
        found = unless({NO_ROLE}, lambda: self._ram.client.list_policies_for_role(request))
        return [(p.policy_name, p.policy_type) for p in found.body.policies.policy] if found else []

    def _attach(self, names: list[str]) -> None:
        for name in names:
            request = self._ram.models.AttachPolicyToRoleRequest(
                policy_name=name, policy_type="Custom", role_name=self.name
            )
            call(functools.partial(self._ram.client.attach_policy_to_role, request))


def _json(text: str) -> Any:
    """A document as RAM shows it: JSON, in its own layout."""
    return json.loads(text)
