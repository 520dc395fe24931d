"""`link-peer links`: the inventory of existing links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, Port
from link_peer.domain.tags import iso, parse_instant

from link_peer_cli.access import inputs, instant
from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import account_named, duration, moment, ports_of
from link_peer_cli.answers.links import LinkAnswer
from link_peer_cli.audit.at import links_at
from link_peer_cli.audit.log import AuditReader
from link_peer_cli.inventory.flow_log import DAY
from link_peer_cli.inventory.reading import View, view_of
from link_peer_cli.inventory.shown import LINKS, STATES, answers_of, links_about, wording
from link_peer_cli.inventory.use import PERIOD, with_use
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui import looked
from link_peer_cli.ui.console import warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Output, Ports, SortBy, form_of
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import TableForm, print_table


def links(
    expiring: Annotated[
        str, typer.Option(help="Only links that end, or whose consent ends, within this time: 7d.")
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
    open_ended: Annotated[bool, typer.Option("--open-ended", help="Only links without an end.")] = False,
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
    seconds = duration(expiring, "--expiring") if expiring else None
    now = instant.now()
    then = moment(at, "--at", now) if at else None
    if then and then > now:
        raise BadInput("--at", f"{at} is in the future: the log has only the past")
    period = duration(unused, "--unused") if unused else PERIOD
    if unused and (at or period < DAY):
        raise BadInput("--unused", "give whole days, such as 30d, and no --at")
    env = load_environment(reading=True)
    if unused and not any(account.flowlog for account in env.policy.accounts.values()):
        raise BadInput(
            "--unused", "no account of the policy file has a flowlog: project/logstore, where its VPC flow logs are"
        )
    uid = account_named(env.policy, account, "--account") if account else ""
    view = view_of(suppose(env, "links")[0])
    if then is None:
        answers, problem = _now(env, view, party, uid, ports, period)
    else:
        answers, problem = _then(env, then, party, uid, ports)
    now = then or now
    answers = [
        answer
        for answer in answers
        if (not state or answer.state in state)
        and (not unused or answer.use == "unused")
        and not (open_ended and (answer.until or answer.state == "closing"))
        and (seconds is None or _ends_by(answer, now + seconds))
    ]
    looked.FACTS["period"] = f"at {iso(int(then))}" if then else ""
    words = wording(env.policy, now, view.scene)
    answers.sort(key=words.titles)
    print_table(LINKS, answers, words, form, sort_by)
    warn([*view.problems, problem])
    if view.problems:
        raise typer.Exit(Exit.REFUSED)


def _now(
    env: Environment, view: View, party: str, uid: str, ports: Sequence[Port], period: int
) -> tuple[list[LinkAnswer], str]:
    """The links that stand, with whether they were used in a period (seconds) that ends now, and why the log could not be read, if so."""
    with waiting("reading the groups"):
        view.read_all()
    current_links = links_about(env, view, party, "--party", ports)
    if uid:
        current_links = [link for link in current_links if uid in (link.source.account, link.target.account)]
    with waiting("reading what decides about packets"):
        answers, problem = answers_of(env, view, current_links)
    with waiting("reading the flow logs"):
        return with_use(env, current_links, answers, period), problem


def _then(
    env: Environment, then: float, party_name: str, uid: str, ports: Sequence[Port]
) -> tuple[list[LinkAnswer], str]:
    """The links that stood, and that the log does not go back so far, if so. A party is named by its id, or by the policy: what else
    names meant then is not known."""
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
