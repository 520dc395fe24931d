"""`link-peer links`: the inventory of existing links."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, Port
from link_peer.domain.tags import iso, parse_instant
from link_peer.views.standing import Standing

from link_peer_cli.access import inputs, instant
from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import account_named, duration, moment, ports_of
from link_peer_cli.answers.links import LinkAnswer
from link_peer_cli.audit.at import links_at
from link_peer_cli.audit.log import AuditReader
from link_peer_cli.inventory.flow_log import DAY
from link_peer_cli.inventory.reading import View, remember_parties, view_of
from link_peer_cli.inventory.shown import (
    LINKS,
    STATES,
    Wording,
    answers_of,
    links_about,
    links_of,
    settled_links,
    wording,
)
from link_peer_cli.inventory.use import PERIOD, with_use
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui import looked
from link_peer_cli.ui.console import console, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Output, Ports, SortBy, Tagged, form_of
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.progress import counter, progress_bar, waiting
from link_peer_cli.ui.tables import TableForm, draw, print_table


def links(
    expiring: Annotated[
        str,
        typer.Option(
            help="Only links that end, or whose consent ends, within this time: 7d; or those without an end: never."
        ),
    ] = "",
    party: Annotated[
        str, typer.Option(help="Only links of this group or instance: an id or a name, optionally with @<account>.")
    ] = "",
    account: Annotated[str, typer.Option(help="Only links of this account: its uid, or its name in the policy.")] = "",
    port: Ports = None,
    state: Annotated[
        list[str] | None, typer.Option(help=f"Only links in this state; repeat for more: {', '.join(STATES)}.")
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            help="The links at that time, from the log: an instant with its zone, or how long ago: 2h, 7d. Prints ids, not names."
        ),
    ] = "",
    unused: Annotated[
        str,
        typer.Option(
            help="Only links that were certainly not used for this time: 30d. From the flow logs of accounts that the policy file names."
        ),
    ] = "",
    open_ended: Annotated[bool, typer.Option("--open-ended", help="As --expiring never.", hidden=True)] = False,
    tagged: Tagged = False,
    output: Output = TableForm.TABLE,
    sort_by: SortBy = "",
    as_json: JsonLines = False,
) -> None:
    """List all existing links: state, since when, until when, claims, who asked, and which consent."""

    LINKS.column(sort_by or "from")
    form = form_of(output, as_json=as_json)
    ports = ports_of(port, "--port")
    if wrong := set(state or ()) - STATES.keys():
        raise BadInput("--state", f"{min(wrong)} is not one of {', '.join(STATES)}")
    open_ended = open_ended or expiring == "never"
    seconds = duration(expiring, "--expiring") if expiring and expiring != "never" else None
    now = instant.now()
    then = moment(at, "--at", now) if at else None
    if then and then > now:
        raise BadInput("--at", f"{at} is in the future: the log has only the past")
    period = duration(unused, "--unused") if unused else PERIOD
    if unused and (at or period < DAY):
        raise BadInput("--unused", "give whole days, such as 30d, and no --at")
    if at and tagged:
        raise BadInput("--tagged", "the log is read whole: give no --at")
    env = load_environment(reading=True)
    if unused and not any(account.flowlog for account in env.policy.accounts.values()):
        raise BadInput(
            "--unused", "no account of the policy file has a flowlog: project/logstore, where its VPC flow logs are"
        )
    uid = account_named(env.policy, account, "--account") if account else ""
    view, now = view_of(suppose(env, "links")[0], tagged=tagged), then or now
    filters = _Filters(
        party, uid, ports, state or [], unused=bool(unused), open_ended=open_ended, ends_by=seconds and now + seconds
    )
    looked.FACTS["period"] = f"at {iso(int(then))}" if then else ""
    if then is None:
        inventory = _Inventory(env, view, filters, period, form, sort_by)
        inventory.print()
        gaps = [inventory.problem, view.gap]
    else:
        answers, problem = _then(env, then, party, uid, ports)
        words, gaps = wording(env.policy, now, view.scene), [problem]
        print_table(LINKS, sorted(filters.chosen(answers), key=words.titles), words, form, sort_by)
    remember_parties(env, view.scene.snapshot)
    warn([*view.problems, *gaps])
    if view.problems:
        raise typer.Exit(Exit.REFUSED)


class _Filters(msgspec.Struct, frozen=True):
    """Which links are asked for: of a party, and of an account (uid), which open one of these ports, if these are
    given; in one of these states, if any; and which end by an instant (epoch seconds)."""

    party: str
    uid: str
    ports: Sequence[Port]
    states: Sequence[str]
    unused: bool
    open_ended: bool
    ends_by: float | None

    def standing(self, env: Environment, view: View, links: Sequence[Standing]) -> list[Standing]:
        """Of links that stand, those that may be asked for, as far as they themselves tell."""
        links = links_about(env, view, links, self.party, "--party", self.ports)
        return [link for link in links if not self.uid or self.uid in (link.source.account, link.target.account)]

    def chosen(self, answers: Sequence[LinkAnswer]) -> list[LinkAnswer]:
        """Of these, those that are asked for."""
        return [
            answer
            for answer in answers
            if (not self.states or answer.state in self.states)
            and (not self.unused or answer.use == "unused")
            and not (self.open_ended and (answer.until or answer.state == "closing"))
            and (self.ends_by is None or _ends_by(answer, self.ends_by))
        ]


class _Inventory:
    """The links that stand, with whether they were used in a `period` (seconds) that ends now. Where a person watches,
    those of groups with our tag are printed before other groups are read. `problem` says why the log could not be read,
    if so."""

    def __init__(
        self, env: Environment, view: View, filters: _Filters, period: int, form: TableForm, sort_by: str
    ) -> None:
        self.problem = ""
        self._env = env
        self._view = view
        self._filters = filters
        self._period = period
        self._table = form, sort_by
        self._printed_links: set[Standing] = set()
        self._row_count = 0
        self._headings: tuple[str, ...] = ()

    def print(self) -> None:
        """Read and print."""
        env, view, (form, sort_by) = self._env, self._view, self._table
        with waiting("reading the groups with the tag of link-peer"):
            view.read_tagged()
        other_groups = [] if view.tagged else view.unread_groups
        is_watched = sys.stdout.isatty() and form in (TableForm.TABLE, TableForm.WIDE) and not sort_by
        if not (is_watched and other_groups):
            self._read_others()
            words = wording(env.policy, env.now, view.scene)
            print_table(LINKS, self._answers(links_of(env, view), words), words, form, sort_by)
            return
        with waiting("reading what decides about packets"):
            settled, is_whole = settled_links(env, view)
        self._draw(settled)
        self._read_others()
        if not is_whole or view.has_rules_of_ours(other_groups):
            self._draw(links_of(env, view))
        if not self._row_count:
            looked.say_none(LINKS.empty_message)

    def _read_others(self) -> None:
        with progress_bar(unless=self._table[0] is TableForm.JSON) as bar:
            self._view.read_others(counter(bar, "groups read"))

    def _draw(self, links: Sequence[Standing]) -> None:
        """Print those that were not printed before."""
        words = wording(self._env.policy, self._env.now, self._view.scene)
        answers = self._answers([link for link in links if link not in self._printed_links], words)
        self._printed_links.update(links)
        if answers:
            is_wide = self._table[0] is TableForm.WIDE
            with paged():
                self._headings = draw(console(), LINKS, answers, words, wide=is_wide, above=self._headings)
        self._row_count += len(answers)

    def _answers(self, links: Sequence[Standing], words: Wording) -> list[LinkAnswer]:
        """What is asked for, of these links."""
        env, view = self._env, self._view
        links = self._filters.standing(env, view, links)
        with waiting("reading what decides about packets"):
            answers, problem = answers_of(env, view, links)
        self.problem = self.problem or problem
        with waiting("reading the flow logs"):
            answers = with_use(env, links, answers, self._period)
        return sorted(self._filters.chosen(answers), key=words.titles)


def _then(
    env: Environment, then: float, party_name: str, uid: str, ports: Sequence[Port]
) -> tuple[list[LinkAnswer], str]:
    """The links that stood, and that the log does not go back so far, if so. A party is named by its id, or by the
    policy: what else names meant then is not known."""
    party = inputs.party(party_name, "--party", env.policy.home) if party_name else None
    with waiting("reading the audit log"):
        log = AuditReader(env.settings, env.clock, env.keys)
        past_links = links_at(log, then)
        begins = "" if past_links else log.begins()
    chosen = [
        link
        for link in past_links
        if (not party or party in (Party(link.from_account, link.source), Party(link.to_account, link.target)))
        and (not uid or uid in (link.from_account, link.to_account))
        and (
            not ports or link.ports == "mutual" or any(a.overlaps(b) for a in ports_of([link.ports], "") for b in ports)
        )
    ]
    early = "the log begins at {}, so it does not have the links before that"
    return chosen, early.format(begins) if begins and parse_instant(begins) > then else ""


def _ends_by(link: LinkAnswer, moment: float) -> bool:
    """Whether it ends until then; what is closing goes at the next sweep."""
    return link.state == "closing" or bool(link.until and parse_instant(link.until) <= moment)
