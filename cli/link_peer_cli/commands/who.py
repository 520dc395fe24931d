"""`link-peer who`: every source that can reach a group or an instance, whoever made the rule."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Annotated

import typer
from link_peer.domain.model import Party, Port
from link_peer.views.who import parties_in_rules as named_peers

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import ports_of
from link_peer_cli.answers.links import Reacher
from link_peer_cli.inventory.reachers import by_rule, reachers
from link_peer_cli.inventory.reading import PARTY, View, remember_parties, view_of
from link_peer_cli.inventory.shown import (
    EXACT,
    STATES,
    Wording,
    answers_of,
    ends,
    last_used,
    links_of,
    standing_ends,
    time_to_end,
    wording,
)
from link_peer_cli.inventory.use import with_use
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Output, Ports, SortBy, form_of
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import Column, Table, TableForm, by_name, by_words, print_table


def who(
    party: Annotated[str, typer.Argument(help=f"Who is reached: {PARTY}.")],
    port: Ports = None,
    output: Output = TableForm.TABLE,
    sort_by: SortBy = "",
    as_json: JsonLines = False,
) -> None:
    """List every source that can reach a group or an instance: by rules of link-peer and of people, for groups, ranges
    and prefix lists, and as members of its own groups.

    All groups of an instance count together, and those of each instance of a group. All rules of both ends decide;
    routes, network ACLs and firewalls inside instances are not considered.
    """
    SOURCES.column(sort_by or "from")
    form = form_of(output, as_json=as_json)
    ports = ports_of(port, "--port")
    env = load_environment(reading=True)
    view = view_of(suppose(env, "who")[0])
    with waiting("reading the groups"):
        target = view.find(party, "party", functools.partial(standing_ends, env, view))
    with waiting("reading what decides about packets"):
        answers, problem = _answers(env, view, target, ports)
    remember_parties(env, view.scene.snapshot)
    print_table(SOURCES, answers, wording(env.policy, env.now, view.scene), form, sort_by)
    warn([*view.problems, problem])
    if view.problems:
        raise typer.Exit(Exit.REFUSED)


def _answers(env: Environment, view: View, party: Party, ports: Sequence[Port]) -> tuple[list[Reacher], str]:
    """The sources, and why the audit log could not be read, if so."""
    view.instances()
    view.around([party])
    view.deciding([(party, party)])
    sources = [
        source_party for source_party in named_peers(view.scene, party) if source_party.account in env.policy.accounts
    ]
    view.around(sources)
    view.deciding((source, party) for source in sources)
    groups = view.scene.groups(party)
    links = [
        link
        for link in links_of(env, view)
        if any(rule.group in groups for rule in link.rules) or (link.target == party and not groups)
    ]
    answers, problem = answers_of(env, view, links)
    return reachers(view.scene, party, by_rule(links, with_use(env, links, answers)), ports), problem


WIDE = ("group", "claims", "consent", "instances", "address", "description")


def _askers(answer: Reacher, words: Wording) -> str:
    """The parties by their names alone."""
    return "; ".join(words.worded(_TITLE.sub(r"\1", text)) for text in answer.asked_by)


def _consenters(answer: Reacher, _: Wording) -> str:
    """Of each principal the end of its ARN, `user/alice`, and how it is known."""
    return "; ".join(dict.fromkeys(_ARN.sub("", text) for text in answer.consented_by))


_TITLE = re.compile(r"^((?:sg|i)-[0-9a-z]+@\d+) \(.*\)$", re.DOTALL)
_ARN = re.compile(r"^acs:ram::\d+:")

SOURCES: Table[Reacher, Wording] = Table(
    Reacher,
    EXACT,
    "Nothing can reach it.",
    (
        Column("from", lambda a, w: w.ends(a)[0], lambda a, w: w.title(a.source, a.from_account), short=by_name),
        Column("ports"),
        Column("state", colours=STATES),
        Column("by"),
        Column("rule", lambda a, _: a.rule_id, wide=True),
        Column("since", lambda a, w: w.ago(a.since), dispensable=3),
        Column(
            "until",
            lambda a, w: ends(a, w) if a.claims else "",
            lambda a, w: time_to_end(a, w) if a.claims else "",
            dispensable=2,
            if_any=True,
        ),
        Column("asked by", brief=_askers, short=by_words, if_any=True),
        Column("consented by", brief=_consenters, short=by_words, if_any=True),
        Column("last used", last_used, dispensable=1, if_any=True),
        *(Column(name, wide=True) for name in WIDE),
        Column("detail", lambda a, _: a.state_detail, wide=True),
    ),
)
"""Whose rule each is, until when, who asked, who consented, and its use; ids in `-o wide`."""
