"""The roles of link-peer in another account, and the commands by which its owner makes them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from link_peer.domain.tags import DEFAULT_TAG_PREFIX
from link_peer_deploy.description import Document, Role, describe_peer, with_flow_log
from link_peer_deploy.documents import MAX_POLICY, REQUEST_TAG, compact, flow_log_reading, operator_arns, tag_denials
from link_peer_deploy.project import ROOT
from msgspec.structs import replace

from link_peer_cli.access.identity import NOBODY, AccountKeys
from link_peer_cli.setup.resource import Resource, SetupTarget
from link_peer_cli.setup.roles import NO_ROLE, Ram, of_roles, part_name

TEMPLATE = ROOT / "deploy" / "peer-account.yaml"
"""The ROS template that makes the roles."""


TOO_LONG = (
    f"the ROS template has one document of {MAX_POLICY:,} characters for a role, and what is denied needs further"
)


class PeerAccount:
    """An account that joins: its uid, the name of the role there, and the external id that the role asks for."""

    def __init__(
        self,
        deployment: SetupTarget,
        uid: str,
        role: str,
        external_id: str,
        closers: Sequence[str] | None = None,
        keys: AccountKeys = NOBODY,
    ) -> None:
        """`deployment` has the policy and names of home; its credentials are those of the other account, if any, as are
        `keys`. `closers` are as in `describe_peer`."""
        self.deployment = deployment
        self.uid = uid
        self.role = role
        self.external_id = external_id
        self.keys = keys
        self.closers = operator_arns(deployment.names) if closers is None else closers

    @property
    def arn(self) -> str:
        """The ARN of the role, as the policy file names it."""
        return f"acs:ram::{self.uid}:role/{self.role}"

    def resources(self) -> Sequence[Resource]:
        """The policies and the roles, in the order of creation."""
        return of_roles(Ram(self.deployment), self._roles)

    def commands(self) -> list[str]:
        """The `aliyun` commands that make the roles, one by one."""
        return [command for role in self._roles for command in _commands(role)]

    def removal_commands(self) -> list[str]:
        """The `aliyun` commands that delete the roles and their policies; of a role that its owner left out, they say
        so."""
        commands = []
        for role in self._roles:
            for name, _ in _parts(role):
                options = ["--PolicyType", "Custom", "--PolicyName", name, "--RoleName", role.name]
                commands += [["DetachPolicyFromRole", *options], ["DeletePolicy", "--PolicyName", name]]
            commands.append(["DeleteRole", "--RoleName", role.name])
        return [shlex.join(["aliyun", "ram", *words]) for words in commands]

    def denying(self, prefixes: Sequence[str]) -> PeerAccount:
        """The same account, whose roles must not consent under these tag prefixes of other deployments."""
        deployment = replace(self.deployment, other_prefixes=tuple(prefixes))
        return PeerAccount(deployment, self.uid, self.role, self.external_id, self.closers, self.keys)

    @property
    def fits_template(self) -> bool:
        """Whether each policy is short enough for the ROS template, in which it is one document."""
        return all(len(documents) == 1 for role in self._roles for documents in role.policies.values())

    def ros_command(self, template: str) -> str:
        """The one command that makes them, which reads the ROS template from this path."""
        return self._with_template(template, "CreateStack", "--StackName", self.role, *self._parameters())

    def stack_group_commands(self, folder: str, template: str) -> list[str]:
        """The two commands that make them in every account of a folder of the resource directory, and in those that
        join it. The first one reads the ROS template from this path.

        The parameters are the same for all accounts, and so then is the external id. The stacks are in one region,
        since roles are global. A stack that fails stops no other, and an account that leaves the folder keeps its
        roles, so that link-peer can still close what is open there. [doc ROS CreateStackGroup, CreateStackInstances]
        """
        name, region = self.deployment.names.prefix, self.deployment.settings.region
        auto = json.dumps({"Enabled": True, "RetainStacksOnAccountRemoval": True})
        settings = ["--PermissionModel", "SERVICE_MANAGED", "--AutoDeployment", auto]
        instances = ["--RegionIds", json.dumps([region]), "--DeploymentTargets", json.dumps({"RdFolderIds": [folder]})]
        pace = ["--OperationPreferences", json.dumps({"FailureTolerancePercentage": 100, "MaxConcurrentCount": 20})]
        words = ["aliyun", "ros", "CreateStackInstances", "--RegionId", region, "--StackGroupName", name]
        return [
            self._with_template(template, "CreateStackGroup", "--StackGroupName", name, *settings, *self._parameters()),
            shlex.join([*words, *instances, *pace]),
        ]

    def _with_template(self, template: str, action: str, *options: str) -> str:
        words = ["aliyun", "ros", action, "--RegionId", self.deployment.settings.region, *options]
        return f'{shlex.join(words)} --TemplateBody "$(cat {shlex.quote(template)})"'

    def _parameters(self) -> list[str]:
        deployment = self.deployment
        keys = deployment.policy.keys
        prefix = keys.accept.removesuffix("accept")
        conditions: dict[str, Any] = {
            "ManagedTag": _condition(keys.managed),
            "InstancesTag": _condition(keys.instances),
        }
        if prefix != f"{DEFAULT_TAG_PREFIX}-":  # else the template's own defaults
            conditions["PeopleTags"] = {key.removeprefix(prefix): _condition(key) for key in keys.of_people}
        parameters = {
            "HomeAccount": deployment.policy.home,
            "ExternalId": self.external_id,
            "Prefix": deployment.names.prefix,
            "RoleName": self.role,
            **{name: json.dumps(condition) for name, condition in conditions.items()},
            "Closers": ",".join(self.closers),
            "SetDenials": json.dumps(tag_denials(deployment.denied_keys)),
            "FlowLog": json.dumps(flow_log_reading(self.uid, self._flowlog)),
        }
        words: list[str] = []
        for number, (key, value) in enumerate(parameters.items(), 1):
            words += [f"--Parameters.{number}.ParameterKey", key, f"--Parameters.{number}.ParameterValue", value]
        return words

    @property
    def _roles(self) -> list[Role]:
        deployment = self.deployment
        home = (deployment.names, deployment.policy.deployment, deployment.settings.tag_prefix)
        roles = describe_peer(
            *home,
            account=self.uid,
            role=self.role,
            external_id=self.external_id,
            closers=self.closers,
            denied_keys=deployment.denied_keys,
        )
        return with_flow_log(roles, self.uid, self._flowlog)

    @property
    def _flowlog(self) -> str:
        account = self.deployment.policy.accounts.get(self.uid)
        return account.flowlog if account else ""


def _condition(key: str) -> dict[str, list[str]]:
    return {f"{REQUEST_TAG}{key}": ["*"]}


def _commands(role: Role) -> list[str]:
    commands = [["CreateRole", "--RoleName", role.name, "--AssumeRolePolicyDocument", compact(role.trust)]]
    for name, document in _parts(role):
        commands.append(["CreatePolicy", "--PolicyName", name, "--PolicyDocument", compact(document)])
        commands.append(["AttachPolicyToRole", "--PolicyType", "Custom", "--PolicyName", name, "--RoleName", role.name])
    return [shlex.join(["aliyun", "ram", *words]) for words in commands]


def _parts(role: Role) -> list[tuple[str, Document]]:
    """The name of each policy of a role, with its document."""
    return [
        (part_name(name, number), document)
        for name, documents in role.policies.items()
        for number, document in enumerate(documents, 1)
    ]


def external_id_of(deployment: SetupTarget, role: str) -> str:
    """The external id that a role asks for already; empty if there is no such role, or it asks for none."""
    response = Ram(deployment).ask("get_role", {NO_ROLE}, role_name=role)
    if response is None:
        return ""
    for statement in json.loads(response.role.assume_role_policy_document).get("Statement", []):
        value = statement.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId", "")
        if value:
            return str(value[0] if isinstance(value, list) else value)
    return ""
