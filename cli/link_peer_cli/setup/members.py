"""`link-peer account add --from`: many accounts at once, with one external id, as one ROS stack group makes their
roles."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from link_peer.domain.errors import BadInput
from link_peer.domain.policy import Policy
from link_peer.domain.tags import is_account_uid, quoted
from rich.markup import escape

from link_peer_cli.access.environment import load_own
from link_peer_cli.access.inputs import document
from link_peer_cli.answers.deployment import AccountAdded
from link_peer_cli.setup.member import (
    added_to,
    peer_of,
    prefixes_at_home,
    tell_of_home,
    tell_of_lines,
    template_path,
    update_home,
    with_lines,
)
from link_peer_cli.setup.peer import TOO_LONG
from link_peer_cli.setup.policy_text import entry
from link_peer_cli.setup.undo import SETUP
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.records import print_undo

STACKS = 2000
"""Of a stack group [doc ROS limits]; they are in one region, so each is an account."""


class Stacks(msgspec.Struct, frozen=True):
    """What makes the roles: stacks of the ROS template, of which `template` is a copy to write, if any; in a stack
    group, if `folder` names a folder of the resource directory."""

    template: str
    folder: str


def add_many(
    file: str,
    role: str,
    external_id: str,
    closers: Sequence[str] | None,
    *,
    queue: bool,
    write: bool,
    stacks: Stacks,
    as_json: bool,
) -> None:
    """Print or write the policy file's lines of every account of a list that is new, and print what makes their roles.
    `closers` are as in `describe_peer`."""
    env = load_own(without_keys=True)
    listed = members(document(file).decode(errors="replace"))
    if stacks.folder and len(listed) > STACKS:
        problem = f"{len(listed)} accounts are listed, but a stack group holds {STACKS}: split the list"
        raise BadInput("--stack-group", problem)
    new = {uid: name for uid, name in listed.items() if uid not in env.policy.accounts}
    shared = external_id or shared_external_id(env.policy, () if new else listed) or secrets.token_hex(16)
    at_home = prefixes_at_home(env)
    peers = [peer_of(env, uid, role, shared, None, "", closers).denying(at_home) for uid in new or listed]
    if not all(peer.fits_template for peer in peers):
        raise BadInput("--from", f"{TOO_LONG}: add the accounts one by one")
    queues = {uid: env.names.queue_of(uid) if queue else "" for uid in new}
    lines = "".join(entry(p.uid, new[p.uid], p.arn, p.external_id, queues[p.uid], ()) for p in peers if p.uid in new)
    write = write and bool(lines)
    with with_lines(env, lines if write else "") as put:
        home, problem = update_home(env, added_to(env.policy, lines), talk=not as_json)
        put()
    way_back = [SETUP] if home or write else []
    template = template_path(stacks.template)
    group = peers[0].stack_group_commands(stacks.folder, template) if stacks.folder else []
    ros = "" if stacks.folder else peers[0].ros_command(template)
    if as_json:
        changes = [str(change) for change in home]
        print_answer(AccountAdded(lines, write, changes, ros, group, problem, way_back))
        return
    heading = "With keys that may manage stack groups, run" if group else "The owner of each account runs this"
    console().print(f"\n[bold]{heading}[/bold], with {escape(template)}:\n")
    print("\n".join(group or [ros]))
    has = f"{len(new)} more accounts" if write else "them all"
    tell_of_lines(env, "" if write else lines, has, "link-peer account list")
    tell_of_home(problem)
    print_undo(console(), way_back, lines_in=env.settings.policy_path if write else "")


def members(text: str) -> dict[str, str]:
    """The accounts of a list, one a line: uid, and perhaps a name after a space or a comma. Uid to name; `#` begins a
    comment.

    Raises BadInput with the number of the line.
    """
    names_by_uid: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        uid, *name = re.split(r"[\s,]+", line.partition("#")[0].strip(), maxsplit=1)
        if not uid:
            continue
        if not is_account_uid(uid):
            raise BadInput("--from", f"line {number}: {quoted(uid)} is not the uid of an account")
        if uid in names_by_uid:
            raise BadInput("--from", f"line {number}: {uid} is listed twice")
        names_by_uid[uid] = name[0] if name else uid
    if not names_by_uid:
        raise BadInput("--from", "no account is listed")
    return names_by_uid


def shared_external_id(policy: Policy, uids: Iterable[str]) -> str:
    """The external id that most accounts of the policy share, so that those which join later get it, too.

    If none do: the only one among these accounts; else empty.
    """
    counts = Counter(account.external_id for account in policy.accounts.values() if account.external_id)
    [(value, times)] = counts.most_common(1) or [("", 0)]
    listed = {policy.accounts[uid].external_id or "" for uid in uids if uid in policy.accounts} - {""}
    return value if times > 1 else listed.pop() if len(listed) == 1 else ""
