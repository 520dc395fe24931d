"""What runs, ran or failed: `audit --verify`, `audit --evidence`, `failed`, `local`, `demo`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from link_peer_cli.answers import CommandAnswer, means


class Mismatch(CommandAnswer, frozen=True):
    """With `--verify`, a difference between the audit log and ActionTrail."""

    time: Annotated[str, means("when")]
    account: Annotated[str, means("where")]
    subject: Annotated[str, means("the call or the decision")] = msgspec.field(name="what")
    rule: Annotated[str, means("the ids of rules, or rules by their fields")]
    request_id: Annotated[str, means("the id of the call")]
    caller: Annotated[str, means("who made it: a role session, or a function")] = msgspec.field(name="who")
    finding: Annotated[str, means("the kind, as docs/audit.md lists them")]
    detail: Annotated[str, means("why")]
    advice: Annotated[str, means("what to do")]
    pending: Annotated[bool, means("whether the other side may not be visible yet")]


class EvidenceWritten(CommandAnswer, frozen=True):
    """With `--evidence`, what was written."""

    files: Annotated[list[str], means("the files")]
    since: Annotated[str, means("where the period begins")]
    until: Annotated[str, means("where it ends")]
    moments: Annotated[
        list[str], means("the instants for which the links are listed: the ends of months, and that of the period")
    ]
    counts: Annotated[dict[str, int], means("how many rows each section has, by the word in the column `section`")]
    unread_regions: Annotated[
        str, means("the regions whose ActionTrail was not read, or why they are not known; empty with `--all-regions`")
    ]


class FailedInvocation(CommandAnswer, frozen=True):
    """A failed invocation, or a dead letter."""

    id: Annotated[str, means("its id")]
    function: Annotated[str, means("its function")]
    time: Annotated[str, means("when it began, or arrived")]
    status: Annotated[str, means("that of the invocation; of a dead letter, `dead-letter`")]
    error: Annotated[str, means("what went wrong")]
    body: Annotated[str | UnsetType, means("of a dead letter: the message")] = UNSET


class Replayed(CommandAnswer, frozen=True):
    """An invocation that was repeated, with `--replay`."""

    id: Annotated[str, means("the failed invocation")]
    function: Annotated[str, means("its function")]
    request_id: Annotated[str, means("the id of the new invocation")]


class CloudAccount(msgspec.Struct, frozen=True):
    """An account of a local cloud, with its keys."""

    id: Annotated[str, means("its uid")]
    name: Annotated[str, means("its name")]
    access_key_id: Annotated[str, means("its key")]
    access_key_secret: Annotated[str, means("the key's secret")]


class CloudVpc(msgspec.Struct, frozen=True):
    """A VPC of a local cloud."""

    name: Annotated[str, means("its name in the world's file")]
    id: Annotated[str, means("its id")]
    vswitch_id: Annotated[str, means("its vSwitch")]
    owner: Annotated[str, means("the account that owns it")]
    shared_with: Annotated[list[str], means("the accounts that use it, too")]


class CloudDescribed(CommandAnswer, frozen=True):
    """A local cloud, as it starts."""

    endpoint: Annotated[str, means("where it listens")]
    authority: Annotated[str, means("with --tls, the file with the authority to trust; empty without")]
    region: Annotated[str, means("the region of that entrance")]
    regions: Annotated[dict[str, str], means("the URL of each region's own entrance")]
    accounts: Annotated[list[CloudAccount], means("the accounts with their keys")]
    vpcs: Annotated[list[CloudVpc], means("the VPCs")]
    queue: Annotated[str, means("the queue of requests")]
    dead_letter_queue: Annotated[str, means("the queue of dead letters")]
    audit_project: Annotated[str, means("the log project")]
    audit_logstore: Annotated[str, means("the logstore of the audit log")]
    role_arn: Annotated[str, means("the role in the first other account")]
    external_id: Annotated[str, means("its external id")]
    fc_service: Annotated[str, means("the service of the functions")]
    deployment: Annotated[str, means("the deployment's name")]
    policy: Annotated[str, means("the policy file of its functions")]


class DemoCheck(msgspec.Struct, frozen=True):
    """A check of the demo."""

    check: Annotated[str, means("what is checked")]
    observation: Annotated[str, means("what was seen")] = msgspec.field(name="seen")
    good: Annotated[bool, means("whether it is as expected")]


class DemoAnswer(CommandAnswer, frozen=True):
    """What the demo checked."""

    checks: Annotated[list[DemoCheck], means("the checks, the one that failed included")]
    problem: Annotated[str, means("what failed; empty if nothing did")]
    seconds: Annotated[float, means("how long it took")]
