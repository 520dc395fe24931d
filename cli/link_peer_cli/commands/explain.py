"""`link-peer explain`: does a packet pass, and what decides?"""

from __future__ import annotations

import functools
import itertools
from typing import Annotated

import typer
from link_peer.domain.denials import NO_ROUTE
from link_peer.domain.errors import BadInput
from link_peer.domain.marker import owned
from link_peer.domain.model import ALL, Link, Party, Port, Rule, ports_text
from link_peer.planning.effect import applying, end_of_party
from link_peer.views.reach import Reach, Scene, reach
from link_peer.views.standing import Standing
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import ports_of
from link_peer_cli.answers.links import Advice, Explanation
from link_peer_cli.consent.entries import notes
from link_peer_cli.inventory.advice import Adviser, name_ports
from link_peer_cli.inventory.reading import View, remember_parties, view_of
from link_peer_cli.inventory.shown import (
    LINKS,
    STATES,
    Wording,
    history_of,
    id_account_name,
    link_answers,
    links_of,
    rule_answer,
    standing_ends,
    wording,
)
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Json
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import describe, draw_table


def explain(
    source: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="Who sends: sg-…, i-…, or a group's or instance's name; with @<account uid or name> where needed.",
        ),
    ],
    target: Annotated[str, typer.Argument(metavar="B", help="The party to reach.")],
    port: Annotated[
        list[str] | None,
        typer.Argument(
            help="tcp/3306, udp/53 or icmp; several with +, or repeated. Default: what the links of the two open, and tags ask for."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether packets from A reach B, as far as security groups decide, what decides, and what to do.

    Rules of link-peer and of people count alike. Routes, network ACLs and firewalls inside instances are not
    considered.
    """
    typed_ports = tuple(ports_of(port, "port"))
    env = load_environment(reading=True)
    view = view_of(suppose(env, "explain")[0])
    with waiting("reading the groups"):
        link_ends = functools.partial(standing_ends, env, view)
        ends = view.find(source, "A", link_ends), view.find(target, "B", link_ends)
    if ends[0] == ends[1] and not ends[0].is_group:
        raise BadInput("B", f"{target} is the same instance as A")
    with waiting("reading what decides"):
        answer, code = answer_for(env, view, ends, typed_ports)
    remember_parties(env, view.scene.snapshot)
    if as_json:
        print_answer(answer)
    else:
        is_named = typed_ports and all(end.is_group for end in ends)
        _show(
            answer, wording(env.policy, env.now), Link(*ends, typed_ports).id(env.settings.region) if is_named else ""
        )
    warn(answer.not_read)
    if code:
        raise typer.Exit(code)


def answer_for(
    env: Environment, view: View, ends: tuple[Party, Party], typed_ports: tuple[Port, ...]
) -> tuple[Explanation, Exit]:
    """What decides about packets between two parties on the ports that are asked for, and the exit code."""
    source, target = ends
    links = _links(env, view, ends)
    scene = view.scene
    adviser = Adviser(view, env.settings.region, env.now)
    asks = _asks(scene, links, ends, typed_ports, adviser.wishes(source, target))
    ports = tuple(sorted({port for asked_ports, _ in asks for port in asked_ports}, key=str)) or (ALL,)
    ports = typed_ports or ((ALL,) if ALL in ports else ports)
    scene = view.scene
    verdict = reach(scene, source, target, ports)
    history = history_of(env, links, prove=True)
    people = _people(env, scene, verdict, ends, ports)
    answer = Explanation(
        verdict.word,
        verdict.detail,
        *id_account_name(scene, source),
        *id_account_name(scene, target),
        ports="all" if ALL in ports else ports_text(ports),
        pairs=verdict.pairs,
        passing=verdict.passing,
        reachability=_reachability(scene, ends),
        links=link_answers(env, scene, links, history),
        rules=[rule_answer(rule, decides=rule in verdict.effect.rules) for rule in people],
        do=[
            *_advice(adviser, scene, ends, asks, ports, verdict),
            *adviser.notes(source, target),
            *(Advice(note, "") for note in _look_alikes(view, ends)),
        ],
        not_read=[*view.problems, *filter(None, [history.problem])],
    )
    return answer, Exit.DONE if verdict.effect.passes else Exit.REFUSED


def _look_alikes(view: View, ends: tuple[Party, Party]) -> list[str]:
    """The tags of the two, their groups and their instances that only look like those of link-peer."""
    scene = view.scene
    around = [{end, *scene.groups(end), *(member.party for member in scene.members(end))} for end in ends]
    resources = [
        scene.snapshot.groups.get(party) or scene.snapshot.instances.get(party) for party in set().union(*around)
    ]
    return notes([resource for resource in resources if resource], view.policy.keys)


def _links(env: Environment, view: View, ends: tuple[Party, Party]) -> list[Standing]:
    """The links between the two, their groups and their instances, in either direction."""
    view.around(ends)
    view.deciding([ends])

    def between() -> list[Standing]:
        scene = view.scene
        sides = [frozenset({end, *scene.groups(end), *(member.party for member in scene.members(end))}) for end in ends]
        return [link for link in links_of(env, view) if link.between((sides[0], sides[1]))]

    links = between()
    # for who asks, and who is admitted
    view.around(party for link in links for party in (link.source, link.target, *link.members))
    view.deciding((source, link.target) for link in links for source in (link.source, *link.members))
    return between()


Ask = tuple[tuple[Port, ...], Link | None]
"""Ports that somebody asks for, and the link by which a tag does."""


def _asks(
    scene: Scene, links: list[Standing], ends: tuple[Party, Party], typed: tuple[Port, ...], wishes: list[Link]
) -> list[Ask]:
    """What is asked for: these ports; else what the links from A open, and what tags ask for beside that."""
    fitting = [wish for wish in wishes if wish.source != wish.target]
    if typed:
        equal_wishes = (
            wish for wish in fitting if set(wish.ports) == set(typed) and (wish.target.is_group or not ends[1].is_group)
        )
        return [(typed, next(equal_wishes, None))]
    sources = {ends[0], *scene.groups(ends[0]), *(member.party for member in scene.members(ends[0]))}
    opened = {port for link in links if link.mutual or link.source in sources for port in link.ports}
    opened = {ALL} if ALL in opened else opened
    wished = [(wish.ports or (ALL,), wish if wish in fitting else None) for wish in wishes]
    standing: list[Ask] = [(tuple(sorted(opened, key=str)), None)] if opened else []
    return standing + [(ports, wish) for ports, wish in wished if not opened.issuperset(ports)]


def _advice(
    adviser: Adviser, scene: Scene, ends: tuple[Party, Party], asks: list[Ask], ports: tuple[Port, ...], passed: Reach
) -> list[Advice]:
    """What to do about what is stopped of each of the asks, and of nothing beside them; else how to test these
    ports."""
    if passed.effect.passes:
        return adviser.advise(*ends, ports, passed)
    judged = [(asked_ports, reach(scene, *ends, asked_ports), wish) for asked_ports, wish in asks]
    advice = [
        adviser.advise(*ends, asked_ports, stop, wish) for asked_ports, stop, wish in judged if not stop.effect.passes
    ]
    return list(dict.fromkeys(itertools.chain(*advice))) if asks else [name_ports(*ends)]


def _people(
    env: Environment, scene: Scene, verdict: Reach, ends: tuple[Party, Party], ports: tuple[Port, ...]
) -> list[Rule]:
    """The rules of people that apply between the two; of many instances, between the pair that was judged."""
    start, end = (end_of_party(scene.snapshot, party) for party in verdict.ends or ends)
    if start is None or end is None:
        return []
    deployment = env.policy.deployment, env.settings.region, env.policy.home
    return [rule for rule in applying(scene.snapshot, start, end, ports) if not owned(rule, *deployment)]


def _reachability(scene: Scene, ends: tuple[Party, Party]) -> str:
    snapshot = scene.snapshot
    resources = [snapshot.groups.get(end) or snapshot.instances.get(end) for end in ends]
    vpcs = {resource.vpc for resource in resources if resource}
    return "unknown" if None in resources else "same-vpc" if len(vpcs) == 1 else "different-vpc"


# for people


def _show(answer: Explanation, words: Wording, former_link: str) -> None:
    """Print it for people. `former_link` is the id of a link that may have stood between the two; empty if that is not
    known."""
    out = console()
    color = STATES[answer.state]
    source, target = map(escape, words.ends(answer))
    out.print(f"[bold {color}]{answer.state.upper()}[/]  {answer.ports}  {source} → {target}")
    out.print(escape(answer.state_detail))
    if answer.reachability == "different-vpc":
        out.print(f"They are in different VPCs: {NO_ROUTE}.")
    out.print()
    if answer.links:
        out.print("[bold]links[/bold]")
        describe(out, LINKS, answer.links, words)
    else:
        unread = "No link of link-peer between them was seen."
        out.print(unread if answer.not_read else "There is no link of link-peer between them.")
        if former_link:
            out.print(f"What became of one: link-peer audit --story {former_link}")
    if answer.rules:
        rows = [
            [*(str(getattr(rule, name)) for name in RULE_FIELDS), "decides" if rule.decides else ""]
            for rule in answer.rules
        ]
        draw_table(out, "rules of people that apply", (*RULE_FIELDS, ""), rows)
    for advice in answer.do:
        out.print(escape(f"# {advice.reason}"))
        if advice.command:
            out.print(escape(advice.command))


RULE_FIELDS = ("rule_id", "group", "direction", "policy", "priority", "peer", "ports", "description")
