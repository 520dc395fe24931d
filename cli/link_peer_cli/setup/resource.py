"""What a deployment has in the cloud: a list of resources that can be read, created, updated and deleted.

`setup` makes every resource as it is wanted; `doctor` only plans, and reports what is missing or differs.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.policy import Policy
from link_peer.runtime.clock import Clock
from link_peer.runtime.settings import Settings
from link_peer_deploy.description import Description, describe
from link_peer_deploy.names import Names

from link_peer_cli.consent.prefixes import consenting

State = Mapping[str, Any]
"""What setup controls of a resource, by field. What the cloud shows besides is left out."""


class SetupTarget(msgspec.Struct, frozen=True, dict=True):
    """Which deployment the resources are of, and with which keys they are read and changed."""

    settings: Settings
    policy: Policy
    names: Names
    clock: Clock
    notify: str = ""  # an e-mail address; without it and `action_policy`, alerts that exist keep whom they notify
    action_policy: str = ""  # the id of an action policy of SLS that exists
    retention: int = 0  # for how many days the audit log is kept at least; 0: what exists stays
    replace: bool = False  # what a person has changed is brought to the wanted state, too
    # ARNs of the users and roles that may operate; none: those in the operator role's trust policy
    operators: tuple[str, ...] = ()
    adopt: bool = False  # roles that setup did not make are taken over
    # the tag prefixes of other deployments, under which our roles must not consent
    other_prefixes: tuple[str, ...] = ()

    @functools.cached_property
    def description(self) -> Description:
        """What it has besides its functions."""
        policy = self.policy
        peers = [account.role for _, account in sorted(policy.accounts.items()) if account.role]
        log = policy.accounts[policy.home].flowlog
        deployment = (self.names, policy.deployment, self.settings.tag_prefix)
        return describe(*deployment, peers, policy.bound_queues, self.denied_keys, self.operators, log)

    @property
    def denied_keys(self) -> tuple[str, ...]:
        """The keys of tags that no role may write beside those of the deployment: they decide what is in the policy's
        sets, or consent under another tag prefix."""
        return (*self.policy.keys.sets, *consenting(self.other_prefixes))


class NotOffered(LinkPeerError):
    """The cloud refuses to create this for anybody: setup goes on without it, and says what does not work then."""


class Resource(ABC):
    """One resource. Its methods raise LinkPeerError: CloudError what is refused, Transient what may succeed later."""

    kind: str
    name: str
    of_the_logs = False
    """Whether it is deleted only together with the logs, which cannot be made again."""
    of_the_account = False
    """Whether others in the account may need it, too: it is never deleted."""
    of_all_regions = False
    """Whether it serves the deployment in every region."""
    without = ""
    """What does not work without it, where its name does not say so."""
    is_needed = True
    """Whether the deployment certainly needs it."""
    option = ""
    """The option of `setup`, with a placeholder, that gives what it `lacks`."""

    @property
    def label(self) -> str:
        """Kind and name, for people."""
        return f"{self.kind} {self.name}"

    @property
    @abstractmethod
    def target_state(self) -> State:
        """The state that it should have."""

    @property
    def lacks(self) -> str:
        """What a person must give before it can be created; empty if nothing."""
        return ""

    @abstractmethod
    def read(self) -> State | None:
        """Its state in the cloud, with the fields of `target_state`; None if it does not exist."""

    def differing(self, current: State) -> tuple[str, ...]:
        """The fields in which a state is not as wanted."""
        return tuple(name for name, value in self.target_state.items() if current.get(name) != value)

    def exemption(self, current: State) -> str:
        """Why a state is left as it is, although it may differ; empty if it is brought to the wanted one."""
        del current
        return ""

    @abstractmethod
    def create(self) -> None:
        """Create it as it is wanted."""

    @abstractmethod
    def update(self) -> None:
        """Bring it to the wanted state; it exists."""

    @abstractmethod
    def delete(self) -> None:
        """Delete it. It is no error if it is gone."""


class Action(str, Enum):
    """What is to be done with a resource."""

    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"  # it is as wanted, or a person's choice
    SKIP = "skip"  # it cannot be created before a person gives something
    DELETE = "delete"


class ResourceChange(msgspec.Struct, frozen=True):
    """What is to be done with one resource."""

    resource: Resource
    action: Action
    fields: tuple[str, ...] = ()  # those that differ
    detail: str = ""  # why it is skipped, or kept although it differs
    before: State | None = None  # its state as it was read; None where it did not exist

    def __str__(self) -> str:
        """One line for people."""
        return ": ".join(filter(None, (self.resource.label, ", ".join(self.fields), self.detail)))


def change_of(resource: Resource) -> ResourceChange:
    """What it takes to bring one resource to its wanted state."""
    current = resource.read()
    if current is None:
        lacking = resource.lacks
        return ResourceChange(resource, Action.SKIP if lacking else Action.CREATE, detail=lacking)
    fields = resource.differing(current)
    keep_reason = resource.exemption(current)
    action = Action.UPDATE if fields and not keep_reason else Action.KEEP
    return ResourceChange(resource, action, fields, keep_reason, current)


class Changeable(Resource):
    """A resource that people may well change: what differs from the wanted state is their choice, unless `setup
    --replace` says otherwise."""

    deployment: SetupTarget

    def exemption(self, current: State) -> str:
        """Their choice."""
        if self.deployment.replace or not self.differing(current):
            return ""
        return "kept as it is; `link-peer setup --replace` would replace it"
