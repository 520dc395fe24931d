"""Finds and removes throw-away resources: by the id in the journal, else by the run's name and tag."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aliyun_conformance.errors import SelftestError
from aliyun_conformance.journal import Journal, Resource
from aliyun_conformance.sdks import UNAVAILABLE, code_of

if TYPE_CHECKING:
    from aliyun_conformance.sdks import Sdks

RUN_TAG = "cloud-selftest.run"
ORDER = ("instance", "interface", "group", "queue", "project")  # a group can be deleted once nothing is in it
IN_USE = ("DependencyViolation", "IncorrectInstanceStatus", "InvalidOperation.Conflict", "InvalidOperation.EniStatus")
"""Codes of a removal that succeeds later [doc DeleteSecurityGroup, DeleteInstance]; prefixes."""

NOT_FOUND = ("InvalidSecurityGroupId.NotFound", "InvalidInstanceId.NotFound", "QueueNotExist", "ProjectNotExist")
WAITS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
"""Seconds before each attempt: an instance is released within a minute or so."""

LOOKS = (0.0, 2.0, 5.0)  # seconds before each search for what an interrupted call may have created


def name(prefix: str, run: str, number: int) -> str:
    """The name of a throw-away resource. Nothing else in an account may have such a name."""
    return f"{prefix}-selftest-{run}-{number}"


def is_ours(text: str, prefix: str) -> bool:
    """Whether a name is one that `name` makes."""
    return re.fullmatch(rf"{re.escape(prefix)}-selftest-[0-9a-z]{{8}}-[0-9]{{1,4}}", text) is not None


def search(sdks: Sdks, prefix: str, account: str) -> Iterator[Resource]:
    """Every throw-away resource of any run that the account shows. Groups, instances and interfaces have both name and tag."""
    region = sdks.settings.region
    for kind in ("instance", "interface", "group"):
        for resource_id, text, run in _tagged(sdks, kind):
            if is_ours(text, prefix):
                yield Resource(kind, text, account, region, run, resource_id)
    start = f"{prefix}-selftest-"
    for kind, names in (("queue", _queues(sdks, account, start)), ("project", _projects(sdks, start))):
        for text in names:
            if is_ours(text, prefix):
                yield Resource(kind, text, account, region, text[len(start) :].split("-")[0], text)


def remove(sdks: Sdks, journal: Journal, resources: Sequence[Resource]) -> list[str]:
    """Remove resources, and note each in the journal. Returns what could not be removed, in words."""
    problems: list[str] = []
    unidentified_names = {resource.name for resource in resources if not _identified(sdks, resource, problems)}
    identified_resources = sorted((each for each in resources if each.id), key=lambda each: ORDER.index(each.kind))
    for group in (each.id for each in identified_resources if each.kind == "group"):
        _attempt(lambda group=group: revoke_all(sdks, group), sdks, problems, f"rules of {group}")  # type: ignore[misc]
    for resource in resources:
        if not resource.id and resource.name not in unidentified_names:  # it was never created
            journal.note_deleted(resource)
    for resource in identified_resources:
        label = f"{resource.kind} {resource.name} ({resource.id})"
        if _attempt(lambda resource=resource: _delete(sdks, resource), sdks, problems, label):  # type: ignore[misc]
            journal.note_deleted(resource)
    return problems


def revoke_all(sdks: Sdks, group: str) -> None:
    """Remove every rule of a group, so that no rule keeps another group from being deleted."""
    body = sdks.ask("describe_security_group_attribute", security_group_id=group, direction="all", max_results=1000)
    for direction, operation in (("ingress", "revoke_security_group"), ("egress", "revoke_security_group_egress")):
        ids = [r.security_group_rule_id for r in body.permissions.permission or [] if r.direction == direction]
        for first in range(0, len(ids), 100):
            sdks.ask(operation, security_group_id=group, security_group_rule_id=ids[first : first + 100])


def _attempt(send: Callable[[], object], sdks: Sdks, problems: list[str], label: str) -> bool:
    """Make a removal, again while the resource is in use. Returns whether the resource is gone."""
    problem = ""
    for seconds in WAITS:
        sdks.clock.sleep(seconds)
        try:
            problem = code_of(send)
        except (SelftestError, *UNAVAILABLE) as trouble:  # of the moment
            problem = str(trouble)
            continue
        if not problem or problem.startswith(NOT_FOUND):
            return True
        if not problem.startswith(IN_USE):
            break
    problems.append(f"{label}: {problem}")
    return False


def _delete(sdks: Sdks, resource: Resource) -> None:
    match resource.kind:
        case "group":
            sdks.ask("delete_security_group", security_group_id=resource.id)
        case "instance":
            sdks.raw("ecs", "DeleteInstance", InstanceId=resource.id, Force="true")  # it has no RegionId
        case "interface":
            sdks.ask("delete_network_interface", network_interface_id=resource.id)
        case "queue":
            sdks.queues(resource.account).get_queue(resource.id).delete()
        case "project":
            sdks.log.delete_project(resource.id)


def _identified(sdks: Sdks, resource: Resource, problems: list[str]) -> bool:
    """Find the id of a resource whose creation was interrupted. Returns whether the account could be searched."""
    try:
        problem = code_of(lambda: _identify(sdks, resource))
    except (SelftestError, *UNAVAILABLE) as trouble:
        problem = str(trouble)
    if problem:
        problems.append(f"{resource.kind} {resource.name}: {problem}")
    return not problem


def _identify(sdks: Sdks, resource: Resource) -> None:
    """Set the id of a resource, if the cloud shows it; it may appear a little later."""
    if resource.id:
        return
    if resource.kind in ("queue", "project"):  # they have no other id
        resource.id = resource.name
        return
    for seconds in LOOKS:
        sdks.clock.sleep(seconds)
        for resource_id, text, run in _tagged(sdks, resource.kind):
            if (text, run) == (resource.name, resource.run):
                resource.id = resource_id
                return


def _tagged(sdks: Sdks, kind: str) -> list[tuple[str, str, str]]:
    """(id, name, run) of everything of one kind that has the tag of a run."""
    thing = {"group": "security_group", "interface": "network_interface"}.get(kind, kind)
    listed = f"{thing}_set" if kind == "interface" else thing
    model = f"Describe{thing.title().replace('_', '')}sRequestTag"
    tag = [getattr(sdks.ecs.models, model)(key=RUN_TAG)]
    rows: list[tuple[str, str, str]] = []
    token = None
    while True:
        body = sdks.ask(f"describe_{thing}s", tag=tag, max_results=100, next_token=token)
        page = getattr(getattr(body, f"{listed}s"), listed) or []
        rows += [(str(getattr(e, f"{thing}_id")), str(getattr(e, f"{thing}_name") or ""), _run_of(e)) for e in page]
        token = body.next_token
        if not token:
            return rows


def _run_of(resource: Any) -> str:
    """The run in a resource's tags. A group's tags and an interface's are spelled like an instance's."""
    tags = resource.tags.tag if resource.tags else []
    return str(next((tag.tag_value for tag in tags or [] if tag.tag_key == RUN_TAG), ""))


def _queues(sdks: Sdks, account: str, start: str) -> list[str]:
    queue_names: list[str] = []
    marker = ""
    while True:
        urls, marker = sdks.queues(account).list_queue(prefix=start, marker=marker)
        queue_names += [str(url).rsplit("/", 1)[-1] for url in urls]
        if not marker:
            return queue_names


def _projects(sdks: Sdks, start: str) -> list[str]:
    listed = sdks.log.list_project(size=500, project_name_pattern=start).get_projects()
    return [str(each["projectName"]) for each in listed]
