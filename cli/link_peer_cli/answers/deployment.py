"""A deployment and its accounts: `init`, `setup`, `package`, `account`, `check`, `doctor`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from link_peer.runtime.ports import Record
from msgspec import UNSET, UnsetType

from link_peer_cli.answers import CloudCall, CommandAnswer, Undo, means


class AccountAdded(CommandAnswer, frozen=True):
    """An account, or those of `--from`, and what adds it."""

    policy: Annotated[str, means("the lines of the account, or of those of `--from` that are new, for the policy file")]
    written: Annotated[bool, means("whether they were added to it")]
    changes: Annotated[list[str], means("what was created or changed, in that account and at home")]
    ros: Annotated[str, means("what the account's owner runs, this or `commands`; empty with `--profile`")]
    commands: Annotated[list[str], means("the same without ROS; with `--stack-group`, what makes the stack group")]
    home: Annotated[str, means("why home was not changed; empty if it was")]
    undo: Undo


class ListedAccount(CommandAnswer, frozen=True):
    """An account, as the policy file has it, and whether the functions entered it at the last run that was due."""

    uid: Annotated[str, means("its uid")]
    name: Annotated[str, means("its name")]
    role: Annotated[str | None, means("the ARN of its role; null for home")]
    queue: Annotated[str, means("its own queue")]
    ranges: Annotated[list[str], means("its address ranges")]
    reached: Annotated[bool, means("whether the functions entered it at the last run that was due")]
    entered_as: Annotated[str, means("as which role, an ARN; `own role` in the home account")] = msgspec.field(
        name="as"
    )
    problem: Annotated[str, means("why not")]


class AccountClosed(CommandAnswer, frozen=True):
    """With `--dry-run`, or after a failure: what is or would be closed."""

    decisions: Annotated[list[Record], means("the records of what was closed")]
    commands: Annotated[list[CloudCall], means("what would be called")]
    remaining_rules: Annotated[list[str], means("rules of this home that are left, of whichever deployment")] = (
        msgspec.field(name="left")
    )
    problems: Annotated[dict[str, str], means("by account, why it could not be read")]
    changes: Annotated[list[str], means("with `--dry-run`, what would then be deleted or changed")]


class AccountRemoved(CommandAnswer, frozen=True):
    """Once nothing is left: what was closed and taken out."""

    decisions: Annotated[list[Record], means("the records of what was closed")]
    changes: Annotated[list[str], means("what was deleted or changed")]
    commands: Annotated[list[str], means("the commands that the account's owner runs")]
    home: Annotated[str, means("why home was not changed; empty if it was")]
    undo: Undo


class JudgedTest(msgspec.Struct, frozen=True):
    """A test of the policy."""

    test: Annotated[str, means("where it is in the policy file")]
    source: Annotated[str, means("the link's source")] = msgspec.field(name="from")
    target: Annotated[str, means("its target")] = msgspec.field(name="to")
    ports: Annotated[str, means("its ports")]
    expected: Annotated[str, means("what the test expects")]
    verdict: Annotated[str, means("the verdict: `allowed`, `denied` or `unknown`")] = msgspec.field(name="found")
    reason: Annotated[str, means("why")] = msgspec.field(name="why")
    passed: Annotated[bool | None, means("null if that could not be known")]


class CheckedFile(CommandAnswer, frozen=True):
    """What is known of one policy file, or of one that `tighten` proposed."""

    file: Annotated[str, means("its path")]
    problems: Annotated[list[str], means("what is wrong, one sentence each; empty for a file that can be packaged")]
    accounts: Annotated[int, means("how many accounts it has")]
    passed: Annotated[int, means("how many of its tests hold")]
    undecided: Annotated[int, means("how many of its tests depend on tags, or on what could not be read")]
    tests: Annotated[list[JudgedTest] | UnsetType, means("with `--live`: its tests")] = UNSET
    links: Annotated[int | UnsetType, means("of a file that `tighten` proposed: how many links it has")] = UNSET


class DoctorFinding(CommandAnswer, frozen=True):
    """What a check found out."""

    part: Annotated[str, means("whom it concerns: `platform` or `tenants`")]
    state: Annotated[str, means("`ok`, `warning`, `differs`, `missing` or `unknown`")]
    where: Annotated[str, means("the account; empty for the deployment")]
    subject: Annotated[str, means("what was checked")] = msgspec.field(name="what")
    detail: Annotated[str, means("what was found")]
    advice: Annotated[str, means("what to do")]
    account_name: Annotated[str, means("the account's name; empty for the deployment")]


class FilesWritten(CommandAnswer, frozen=True):
    """The files of a new deployment."""

    folder: Annotated[str, means("where the files were written")]
    files: Annotated[list[str], means("their names")]
    existing_files: Annotated[list[str], means("those that were there before")] = msgspec.field(name="kept")
    home: Annotated[
        str, means("the account of the deployment; empty where only the workflow was written and none was given")
    ]
    region: Annotated[str, means("its region; empty where only the workflow was written")]


class PackageBuilt(CommandAnswer, frozen=True):
    """What was built."""

    folder: Annotated[str, means("the package")]
    zip: Annotated[str, means("its zip")]
    sha256: Annotated[str, means("the zip's digest")]
    bytes: Annotated[int, means("the size of the zip")]
    unpacked_bytes: Annotated[int, means("the size of the folder")]
    runtime: Annotated[str, means("the runtime that it was built for")]
    compiled: Annotated[bool, means("whether it contains bytecode")]


class ResourceAnswer(CommandAnswer, frozen=True):
    """A resource."""

    kind: Annotated[str, means("what it is")]
    name: Annotated[str, means("its name")]
    action: Annotated[str, means("`create`, `update`, `delete`, `keep` or `skip`")]
    result: Annotated[str, means("`planned`, `done`, `failed` or `missing`")]
    fields: Annotated[list[str] | UnsetType, means("what differs")] = UNSET
    detail: Annotated[
        str | UnsetType,
        means("what to know; with `keep`, why something stays although it may differ"),
    ] = UNSET
    problem: Annotated[str | UnsetType, means("what went wrong")] = UNSET


class SetupUndone(CommandAnswer, frozen=True, tag_field="kind", tag="undo"):
    """The last line, where something was changed."""

    undo: Undo
    remaining: Annotated[int, means("how many of the changes these commands do not take back")]


class _Problem(CommandAnswer, frozen=True):
    """What is wrong, or may be."""

    fault: Annotated[str, means("what is wrong")] = msgspec.field(name="what")
    problem: Annotated[str, means("why")]
    remedy: Annotated[str, means("what to do")]

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.fault}: {self.problem}: {self.remedy}"


class Fault(_Problem, frozen=True, tag_field="kind", tag="fault"):
    """A fault that is in the way (exit code 1)."""


class Caution(_Problem, frozen=True, tag_field="kind", tag="caution"):
    """What one document of the platform refuses and another allows: it is tried."""
