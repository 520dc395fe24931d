"""The commands that take back what `setup` and `account` did to resources, from what these were before. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from link_peer_deploy.documents import compact, principals

from link_peer_cli.setup.engine import CHANGING
from link_peer_cli.setup.peer import PeerAccount
from link_peer_cli.setup.resource import Action, ResourceChange, SetupTarget, State
from link_peer_cli.setup.roles import RamPolicy, RamRole

LONGEST_DEFAULT = 365  # days for which setup makes a log keep its records
SETUP = "link-peer setup"
CHOSEN_FIELDS = {"role": ("trust",), "user": ("value",), "alert": ("action policy",)}
"""By kind, what an option of `setup` chooses, and changes back."""
LOG_CALLS = {
    "logstore": ("LogStore", "logstore"),
    "index": ("Index", "logstore"),
    "saved search": ("SavedSearch", "savedsearchName"),
    "dashboard": ("Dashboard", "dashboardName"),
    "alert": ("Alert", "alertName"),
}
"""By kind, what the calls of SLS name after their verb, and the parameter that has the resource's name [doc SLS API
2020-12-30]."""
QUEUE_FIELDS = (("MessageRetentionPeriod", "seconds"), ("VisibilityTimeout", "hidden"))


def of_setup(changes: Sequence[ResourceChange], deployment: SetupTarget) -> tuple[list[str], list[str]]:
    """The commands that take back what `setup` changed, in the order in which they are typed, and what they do not take
    back, with what it was before."""
    command = ["link-peer", "setup", "--region", deployment.settings.region, "--prefix", deployment.names.prefix]
    ours = [change for change in changes if not change.resource.of_the_account]
    changed = [change for change in ours if change.action in CHANGING]
    if not changed:
        return [], []
    if any(change.action is Action.DELETE for change in changed):
        return [shlex.join([*command, *_options(changed, deployment.names.prefix)])], []
    if all(change.action in (Action.CREATE, Action.SKIP) for change in ours):
        return [shlex.join([*command, "--remove", "--with-logs"])], []
    prefix = deployment.names.prefix
    optional = [c for c in changed if c.fields == CHOSEN_FIELDS.get(c.resource.kind) and _options([c], prefix)]
    commands = [shlex.join([*command, *_options(optional, prefix)])] if optional else []
    further_changes = [change for change in reversed(changed) if change not in optional]
    calls = {change.resource.label: _restoring(change, deployment) for change in further_changes}
    restoring = [text for texts in calls.values() for text in texts or ()]
    return [*commands, *restoring], [
        _description(change) for change in further_changes if calls[change.resource.label] is None
    ]


def _description(change: ResourceChange) -> str:
    """What changed, and what it was."""
    return f"{change.resource.label}, which was {compact(change.before)}" if change.before else change.resource.label


def _restoring(change: ResourceChange, deployment: SetupTarget) -> list[str] | None:
    """The calls that bring one resource back to what it was, or delete it if it was not there; None if there are
    none."""
    resource, before, region = change.resource, change.before, deployment.settings.region
    if isinstance(resource, RamPolicy):
        return _policy_calls(resource, before)
    if isinstance(resource, RamRole):
        return list(_role_calls(resource, before))
    if resource.kind == "queue":
        words = ["mns-open", "SetQueueAttributes" if before else "DeleteQueue", "--RegionId", region]
        fields = [word for name, field in QUEUE_FIELDS for word in (f"--{name}", str(before[field]))] if before else []
        return [shlex.join(["aliyun", *words, "--QueueName", resource.name, *fields])]
    if resource.kind not in LOG_CALLS:
        return None
    noun, parameter = LOG_CALLS[resource.kind]
    project = deployment.names.audit_project(region)
    words = [f"{'Update' if before else 'Delete'}{noun}", "--region", region, "--project", project]
    body = ["--body", compact(before["whole"])] if before else []
    return [shlex.join(["aliyun", "sls", *words, f"--{parameter}", resource.name, *body])]


def _ram(action: str, *words: str) -> str:
    return shlex.join(["aliyun", "ram", action, *words])


def _policy_calls(policy: RamPolicy, before: State | None) -> list[str] | None:
    """The version that was the default one is again; what is new is deleted, once no role has it. None where a policy
    was deleted that held a part of the document: which roles had it is not known."""
    versions, documents = (before["versions"], before["document"]) if before else ([], [])
    if len(versions) > len(policy.parts):
        return None
    parts = zip(policy.parts, versions, documents, policy.documents, strict=False)  # the first of them were there
    calls = [
        _ram("SetDefaultPolicyVersion", "--PolicyName", name, "--VersionId", version)
        for name, version, document, target in parts
        if document != target
    ]
    return calls + [_ram("DeletePolicy", "--PolicyName", name) for name in policy.parts[len(versions) :]]


def _role_calls(role: RamRole, before: State | None) -> Iterator[str]:
    """Its trust policy is as it was, and what was attached is detached."""
    target = role.target_state
    for name in target["policies"]:
        if not before or name not in before["policies"]:
            yield _ram("DetachPolicyFromRole", "--PolicyType", "Custom", "--PolicyName", name, "--RoleName", role.name)
    if not before:
        yield _ram("DeleteRole", "--RoleName", role.name)
    elif "trust" in role.differing(before):
        yield _ram("UpdateRole", "--RoleName", role.name, "--NewAssumeRolePolicyDocument", compact(before["trust"]))


def of_addition(
    peer: PeerAccount,
    profile: str,
    changes: Sequence[ResourceChange],
    home: Sequence[ResourceChange],
    *,
    is_listed: bool,
    written: bool,
) -> list[str]:
    """The commands that take back what `account add` did: `changes` are those in the account, with the keys of
    `profile`, and `home` those of home's policies; `is_listed` is whether the policy file listed the account, `written`
    whether it does now.

    `account remove` needs roles by which the account can be read. Where there are none, `setup` brings home's policies
    to the policy file, from which a person has deleted the lines; and an account that the file does not list is none of
    the deployment's.
    """
    is_new = any(change.action is Action.CREATE and change.resource.kind == "role" for change in changes)
    if is_new and peer.uid in peer.deployment.policy.accounts:
        return [shlex.join(["link-peer", "account", "remove", peer.uid, "--profile", profile])]
    calls = peer.removal_commands() if is_new else _restored(changes, peer.deployment)
    calls = [f"{call} {shlex.join(['--profile', profile])}" for call in calls]
    if is_listed:
        return calls + _restored(home, peer.deployment)
    return calls + ([SETUP] if home or written else [])


def _restored(changes: Sequence[ResourceChange], deployment: SetupTarget) -> list[str]:
    """The calls that bring these roles and policies back to what they were."""
    changed = [change for change in reversed(changes) if change.action in CHANGING]
    return [text for change in changed for text in _restoring(change, deployment) or ()]


def of_removal(peer: PeerAccount, profile: str, changes: Sequence[ResourceChange]) -> str:
    """The command that adds an account again, which the policy file still lists: `changes` are its roles that were
    deleted, with the keys of `profile`."""
    trusts = {
        change.resource.name: change.before["trust"] for change in changes if change.before and "trust" in change.before
    }
    closers = principals(trusts.get(f"{peer.role}-closer", {"Statement": []}))
    words = ["link-peer", "account", "add", peer.uid]
    if profile:
        words += ["--profile", profile]
        words += [word for arn in closers for word in ("--closer", arn)] or ["--no-closer"]
    return shlex.join(words)


def _options(changes: Iterable[ResourceChange], prefix: str) -> list[str]:
    """The options of `setup` that say what these resources were: who may operate, whom alerts notify, how long logs are
    kept."""
    options: dict[str, str] = {}
    for change in changes:
        before, kind = change.before or {}, change.resource.kind
        if kind == "role" and change.resource.name == f"{prefix}-operator":
            options["--operators"] = ",".join(principals(before["trust"])) if before else ""
        elif kind == "user" and before:
            options["--notify"] = ",".join(before["value"].get("email", ()))
        elif kind == "alert" and before and before["action policy"] != prefix:
            options["--action-policy"] = before["action policy"]
        elif kind == "logstore" and change.action is Action.DELETE and before["days"] > LONGEST_DEFAULT:
            options["--retention"] = str(before["days"])
    return [word for option, text in options.items() if text for word in (option, text)]
