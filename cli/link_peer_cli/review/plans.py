"""A plan for people: what would change, by group, with the counts in the last line."""

from __future__ import annotations

import math
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec
from link_peer.domain.model import ALL, Instance, RuleKey
from link_peer.runtime.ports import Record
from rich.console import Console
from rich.markup import escape

from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import GroupPlan, OtherChange, PlanCounts
from link_peer_cli.inventory.shown import EXACT, Wording
from link_peer_cli.review.edits import GroupChange, RuleEdit, fields_of, reasons
from link_peer_cli.review.writes import Difference, Write
from link_peer_cli.ui.console import console, number
from link_peer_cli.ui.looked import say_none
from link_peer_cli.ui.markdown import Section, row
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.records import PLANNED, Names, asker, explanation, print_records
from link_peer_cli.ui.tables import by_words

COLOURS = {"+": "green", "~": "yellow", "-": "red"}
MAX_RULES_LEFT = 20  # rules that are left, as text names them
MAX_INSTANCE_NAMES = 10  # instances of a group; of more, only their number
VERBS = {"authorize": "add", "modify": "change", "revoke": "remove", "tag": "put", "untag": "take off"}
VERBS_OF_RULES = ("add", "change", "remove")
_DIFFERS = {"+": "was not reviewed", "~": "otherwise than reviewed", "-": "was reviewed, and would not happen now"}
DONE_OUTCOMES = ("applied", "unchanged", "removed")


class ShownPlan(msgspec.Struct, frozen=True):
    """A plan: what would change, the records that say why, those of them that a person must see, and the wording of
    accounts. `unchanged` is the sentence where no group would change."""

    groups: Sequence[GroupChange]
    records: Sequence[Record]
    notable: Sequence[Record]
    words: Wording = EXACT
    unchanged: str = "Nothing would change."

    @property
    def counts(self) -> PlanCounts:
        """How much would change."""
        signs = Counter(edit.sign for group in self.groups for edit in group.edits)
        instances = {instance.party for group in self.groups for instance in group.instances or ()}
        outcomes = Counter(record.get("outcome", record["record"]) for record in self.notable)
        return PlanCounts(
            add=signs["+"],
            change=signs["~"],
            remove=signs["-"],
            tagged=sum(bool(group.tags) for group in self.groups),
            groups=sum(bool(group.edits) for group in self.groups),
            instances=len(instances),
            unread=sum(group.instances is None for group in self.groups),
            denied=outcomes["denied"],
            failed=outcomes["failed"],
            attempt=outcomes["attempt"],
        )

    @property
    def group_plans(self) -> list[GroupPlan]:
        """The groups for programs."""
        return [_group_answer(change) for change in self.groups]


def notable(records: Sequence[Record]) -> list[Record]:
    """The records that say more than that a rule is added or removed: what is denied, failed, or cannot be decided
    yet."""
    return [record for record in records if record.get("outcome") not in DONE_OUTCOMES]


@paged()
def print_plan(
    out: Console,
    plan: ShownPlan,
    commands: Sequence[CloudCall] | None = None,
    verbs: Sequence[str] = VERBS_OF_RULES,
    *,
    wide: bool = False,
) -> None:
    """Print the groups with their rules, then what is denied and how to resolve that, and the counts. `commands` are
    the commands that would do the same, if they are to be printed. On a terminal with fewer lines, in a pager; there,
    what is said beside a rule is cut where the line ends, and parties are called by their names, unless it is
    `wide`."""
    because, words = reasons(plan.records), plan.words.by_ids if wide else plan.words
    names = words.called
    room = sys.maxsize if wide or not sys.stdout.isatty() else out.width
    if lines := [line for change in plan.groups for line in _group_lines(change, because, words, names, room)]:
        out.print("\n".join(lines))  # at once: each print takes as long as ten lines
    print_records(out, "", plan.notable, names=names, wide=wide)
    if commands:
        print_changes(out, commands)
    out.print(f"[bold]{escape(total(plan, verbs))}[/bold]")
    if not plan.groups:
        say_none()


def _group_lines(
    change: GroupChange, because: Mapping[tuple[str, ...], Record], words: Wording, names: Names, room: int
) -> Iterator[str]:
    """What changes in one group, with rich's markup. `names` are those of `words`, as records take them."""
    group = words.worded(str(change.group))
    yield f"[bold]{escape(group)}[/bold]  [dim]{escape(by_words(_members(change, words), room - len(group) - 2))}[/dim]"
    for edit in change.edits:
        text, colour = f"  {edit.sign} {words.worded(_edit_text(edit))}", COLOURS[edit.sign]
        reason = by_words(words.worded(_reason(edit, because, names)), room - len(text) - 2)
        yield f"[{colour}]{escape(text)}[/{colour}]  {escape(reason)}".rstrip()
    for sign, tag in change.tags:
        yield f"  [dim]{sign} tag {escape(tag)}[/dim]"


def print_saved(path: str) -> None:
    """Say on stderr where a plan was saved, so that the counts stay the last line of the output."""
    console(stderr=True).print(escape(f"saved: link-peer apply {shlex.quote(path)}"))


def print_differences(out: Console, differences: Sequence[Difference]) -> None:
    """Print how what would change now differs from what was reviewed, by group."""
    out.print("What would change now is not what was reviewed:")
    group = None
    for difference in differences:
        if group != difference.write.party:
            group = difference.write.party
            out.print(f"[bold]{escape(str(group))}[/bold]")
        text = f"{difference.sign} {write_text(difference.write)}  ({_DIFFERS[difference.sign]})"
        out.print(f"  [{COLOURS[difference.sign]}]{escape(text)}[/{COLOURS[difference.sign]}]")


def difference_answer(difference: Difference) -> OtherChange:
    """A difference for programs."""
    fields = {"sign": difference.sign, "why": _DIFFERS[difference.sign], "what": write_text(difference.write)}
    return msgspec.convert({**fields, **msgspec.to_builtins(difference.write)}, OtherChange)


def write_text(write: Write) -> str:
    """`add tcp/3306 from sg-app@<uid>`."""
    return f"{VERBS[write.action]} {write}"


def total(plan: ShownPlan, verbs: Sequence[str] = VERBS_OF_RULES) -> str:
    """The counts as a sentence."""
    counts = plan.counts
    parts = ((counts.add, verbs[0]), (counts.change, verbs[1]), (counts.remove, verbs[2]))
    rules = ", ".join(f"{count} to {verb}" for count, verb in parts if verb != verbs[1] or count)
    words = ((counts.denied, "denied"), (counts.failed, "failed"), (counts.attempt, "undecided"))
    troubles = ", ".join(f"{count} {word}" for count, word in words if count)
    links = f"Links: {troubles}." if troubles else ""
    if not plan.groups:
        return " ".join(filter(None, ["" if counts.attempt else plan.unchanged, links]))
    if not counts.groups:
        return " ".join(filter(None, [f"Rules: none. Tags: of {number(counts.tagged, 'group')}.", links]))
    affected = f"{number(counts.instances, 'instance')} in {number(counts.groups, 'group')}"
    if counts.unread:
        affected += f", and more: those of {number(counts.unread, 'group')} could not be read"
    return " ".join(filter(None, [f"Rules: {rules}. Affected: {affected}.", links]))


def sections(plan: ShownPlan) -> list[Section]:
    """The plan for a pull request: its rules, those that open most first, and what is denied."""
    because = reasons(plan.records)
    edits = [(edit, change) for change in plan.groups for edit in change.edits]
    rules = [
        row(edit.sign, _edit_text(edit), str(change.group), _members(change), _reason(edit, because))
        for edit, change in sorted(edits, key=lambda pair: _narrowness(*pair))
    ]
    tags = [(change.group, *tag) for change in plan.groups if not change.edits for tag in change.tags]
    rules += [row(sign, f"tag {tag}", str(group), "", "") for group, sign, tag in tags]
    links = [row(*record) for record in dict.fromkeys(map(_denial, plan.notable))]
    return [
        Section("changes", rules, ("", "| | rule | on group | affects | why |", "|---|---|---|---|---|")),
        Section("links", links, ("", "| link | outcome | why |", "|---|---|---|")),
    ]


def _narrowness(edit: RuleEdit, change: GroupChange) -> tuple[bool, float, float]:
    """Sorts what opens before what closes, and each by how many instances, and then ports, it affects."""
    port = edit.key.port
    ports = math.inf if port == ALL else port.high - port.low
    return edit.sign != "+", -math.inf if change.instances is None else -len(change.instances), -ports


def _group_answer(change: GroupChange) -> GroupPlan:
    rules = {sign: [rule_text(edit.key) for edit in change.edits if edit.sign == sign] for sign in COLOURS}
    return GroupPlan(
        change.group.id,
        change.group.account,
        add=rules["+"],
        change=rules["~"],
        remove=rules["-"],
        tags=[f"{sign} {tag}" for sign, tag in change.tags],
        instances=None if change.instances is None else [instance.party.id for instance in change.instances],
    )


def rule_text(key: RuleKey) -> str:
    """`tcp/3306 from sg-app@<uid>`, with the destination of a rule between instances."""
    return key.traffic_text


def _edit_text(edit: RuleEdit) -> str:
    return rule_text(edit.key) + (f" ({edit.of.id})" if edit.of else "")


def _reason(edit: RuleEdit, because: Mapping[tuple[str, ...], Record], names: Names = MappingProxyType({})) -> str:
    record = because.get(fields_of(edit.key))
    if record is None:
        return ""
    requester = "" if asker(record) == record.get("function") else asker(record, names)
    if edit.of and record.get("instance"):  # the record names the first of those that ask
        requester = "its tag"
    return "  ".join(filter(None, [requester, explanation(record)]))


def _denial(record: Record) -> tuple[str, str, str]:
    ends = " → ".join(filter(None, (record.get("from"), record.get("to"))))
    link = " ".join(filter(None, (ends, record.get("ports"))))
    return link or record.get("function", ""), record.get("outcome", record["record"]), explanation(record)


def _members(change: GroupChange, words: Wording = EXACT) -> str:
    if change.instances is None:
        return "its instances could not be read"
    if not change.edits:
        return ""
    instances = change.instances if len(change.instances) <= MAX_INSTANCE_NAMES else ()
    names = ", ".join(words.parties.get(instance.party) or _name(instance) for instance in instances)
    count = "no instance" if not change.instances else number(len(change.instances), "instance")
    return f"affects {count}" + (f": {names}" if names else "")


def _name(instance: Instance) -> str:
    name = getattr(instance, "name", "")  # where names are read
    return f"{instance.party.id} ({name})" if name not in ("", instance.party.id) else instance.party.id


def print_changes(out: Console, changes: Sequence[CloudCall]) -> None:
    """Print the commands that would make the changes, each with its account."""
    for change in changes:
        out.print(escape(f"# account {change.account}\n{change.command}"))
    if not changes:
        out.print("Nothing would change.")
        say_none()


def closed_links(records: Sequence[Record]) -> list[Record]:
    """The first record of each link that was closed, or is to be: it may have one for each end. What let the instances
    of a group out to one instance is an end of the links between these."""
    closed = [record for record in records if record["outcome"] == "removed"]
    between_instances = [record for record in closed if record["from"].startswith("i-")]
    reached = {(r["to"], port) for r in between_instances for port in r["ports"].split("+")}
    links: dict[str, Record] = {}
    for record in closed:
        is_outlet = record["from"].startswith("sg-") and record["to"].startswith("i-")
        if not is_outlet or reached.isdisjoint((record["to"], port) for port in record["ports"].split("+")):
            links.setdefault(record["link"], record)
    return list(links.values())


def print_closed(
    records: Sequence[Record],
    changes: Sequence[CloudCall],
    open_rules: Sequence[str],
    problems: Mapping[str, str],
    names: Names = MappingProxyType({}),
    *,
    dry_run: bool,
    wide: bool = False,
) -> None:
    """Print what a command closed, or would close in a dry run, with these names of accounts and parties; some of the
    rules that are left; and, by where, what went wrong."""
    out, err = console(), console(stderr=True)
    if records:
        shown_records = [record for record in records if record["outcome"] != "removed"] + closed_links(records)
        closed = [
            {**record, "advice": ""} for record in shown_records
        ]  # it says how to open again, which is not wanted now
        title, words = ("planned decisions", PLANNED) if dry_run else ("decisions", None)
        print_records(out, title, closed, words, names, wide=wide)
    if dry_run:
        print_changes(out, changes)
    for text in open_rules[:MAX_RULES_LEFT]:
        err.print(f"[red]still open: rule {escape(text)}[/red]")
    for where, problem in problems.items():
        err.print(f"[red]{escape(where)}: {escape(problem)}[/red]")
