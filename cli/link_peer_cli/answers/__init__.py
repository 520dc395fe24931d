"""What commands print with `--json`: a type for each answer, whose fields say what they mean.

The site's pages of commands and `docs/schemas/answers.schema.json` are made of these types, by the table in `table`. A
field is always there, unless its default is UNSET: then it is left out where nothing is to be said.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from link_peer.runtime.ports import Record


def means(text: str) -> msgspec.Meta:
    """The meaning of a field, as the page and the schema have it."""
    return msgspec.Meta(description=text)


class CommandAnswer(msgspec.Struct, frozen=True):
    """What a command prints: one document, or one object a line."""


class CloudCall(msgspec.Struct, frozen=True):
    """One call that would be made in an account, as an `aliyun` command."""

    account: Annotated[str, means("the account in which it is made")]
    command: Annotated[str, means("the call, as an `aliyun` command")]


class CommandFailed(CommandAnswer, frozen=True):
    """An error, on stderr. All but `error` is there if the command was stopped or failed after it changed something."""

    error: Annotated[str, means("what is wrong, and what to do")]
    changes: Annotated[list[str] | msgspec.UnsetType, means("what was changed")] = msgspec.field(
        default=msgspec.UNSET, name="done"
    )
    perhaps_done: Annotated[list[str] | msgspec.UnsetType, means("what was under way, without an answer")] = (
        msgspec.UNSET
    )
    not_done: Annotated[list[str] | msgspec.UnsetType, means("what was not changed, as far as it is known")] = (
        msgspec.UNSET
    )
    then: Annotated[str | msgspec.UnsetType, means("what to do")] = msgspec.UNSET


Records = Annotated[list[Record], means("the records that were written")]
Undo = Annotated[
    list[str],
    means("the commands that take it back, in the order in which they are typed; empty where nothing was changed"),
]
PlannedRecords = Annotated[list[Record], means("the records that would be written")]
PlannedCalls = Annotated[list[CloudCall], means("the calls that would be made")]
