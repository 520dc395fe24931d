"""`link-peer verify`: test from inside an instance whether it reaches another, and say what decides."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Instance, Party, Port
from link_peer.planning import effect_text
from link_peer.planning.actual import owned_rules
from link_peer.planning.effect import Effect
from link_peer.views.reach import Scene, reach
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import matching, ports_of
from link_peer_cli.answers.links import AskedParties, TestedOf, TestedPort
from link_peer_cli.inventory.probe import Probe, ProbeResult, command_of, runner_in
from link_peer_cli.inventory.reading import View, view_of
from link_peer_cli.inventory.shown import EXACT, id_account_name
from link_peer_cli.inventory.tested import ProbeVerdict, last_line, rules_of
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Ports
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import draw_table, print_tsv

UNKNOWN = "an address was given: name the instance that has it to learn which rule decides"
REACHED = {True: "yes", False: "no", None: "not tested"}


def verify(
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="Where to test from, in any account of the policy: i-…, an instance's name, or sg-… for one of it; with "
            "@<account uid or name> where that is not clear.",
        ),
    ],
    target: Annotated[str, typer.Option("--to", help="What to reach: the same, or an IPv4 address.")],
    port: Ports = None,
    profile: Annotated[
        str,
        typer.Option(help="A profile of the `aliyun` CLI with keys of the account of --from. Default: your own keys."),
    ] = "",
    role: Annotated[str, typer.Option(help="The name of a role in the account of --from; your keys assume it.")] = "",
    as_json: JsonLines = False,
) -> None:
    """Test with ping or TCP, through Cloud Assistant, whether one instance reaches another, and say what the rules say.

    Without --port, a ping. For a group, its first instance with a private address is used. The test needs
    ecs:RunCommand on it, which no role of link-peer has: your own keys, --profile or --role must. A refused connection
    has arrived, so it counts as reached.
    """
    ports = ports_of(port or ["icmp"], "--port")
    for tested_port in ports:
        command_of(tested_port)  # report an invalid option before a missing environment
    matching(role, "--role", r"[A-Za-z0-9.-]{1,64}")  # of a role [doc CreateRole]
    env = load_environment(reading=True)
    view = view_of(suppose(env, "verify")[0])
    start = view.find(source, "--from")
    end = None if _is_address(target) else view.find(target, "--to")
    view.around(party for party in (start, end) if party)
    a, b = _pair(view, start, end)
    probe = Probe(env, runner_in(env, a.party.account, profile, role), a.party)
    with waiting("testing"):
        results = list(_results(probe, b.ip if b else target, ports))
    tested = [*_judged(env, view, (a, b), results)]
    answers = [_answer(view.scene, (start, end), (a, b), target, verdict) for verdict in tested]
    if as_json:
        for answer in answers:
            print_answer(answer)
    else:
        _show(answers)
    warn(view.problems)
    if not all(verdict.result.reached for verdict in tested):
        raise typer.Exit(Exit.REFUSED)


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _pair(view: View, start: Party, end: Party | None) -> tuple[Instance, Instance | None]:
    """The first instance of each party that has a private address; not the same one twice."""
    scene = view.scene
    candidates = [_testable(scene, party) for party in (start, end) if party]
    for party, members in zip((start, end), candidates, strict=False):
        if not members:
            requirement = "instance with a private address" if party and party.is_group else "private address"
            raise LinkPeerError("; ".join([f"{party} has no {requirement}", *view.problems]))
    if end is None:
        return candidates[0][0], None
    for a in candidates[0]:
        for b in candidates[1]:
            if a.party != b.party:
                return a, b
    raise LinkPeerError(f"{start} and {end} are the same instance, {candidates[0][0].party}")


def _testable(scene: Scene, party: Party) -> list[Instance]:
    return sorted((instance for instance in scene.members(party) if instance.ip), key=lambda instance: instance.party)


def _results(probe: Probe, address: str, ports: list[Port]) -> Iterator[tuple[Port, ProbeResult, str]]:
    """Test one port after the other, with a note on a terminal: each takes seconds."""
    for port in ports:
        with waiting(f"testing {port}"):
            result, output = probe.test(address, port)
        yield port, result, output


def _judged(
    env: Environment,
    view: View,
    pair: tuple[Instance, Instance | None],
    results: list[tuple[Port, ProbeResult, str]],
) -> Iterator[ProbeVerdict]:
    """Each result with what the rules say, which are read after the test."""
    a, b = pair
    if b:
        view.deciding([(a.party, b.party)])
    snapshot = view.scene.snapshot
    ours = frozenset(rule.id for rule, _ in owned_rules(snapshot, env.policy, env.settings.region))
    for port, result, output in results:
        effect = Effect(None) if b is None else reach(view.scene, a.party, b.party, [port]).effect
        detail = UNKNOWN if b is None else effect_text.detail(effect)
        yield ProbeVerdict(port, result, output, effect, detail, ours, b is not None and a.vpc != b.vpc)


def _answer(
    scene: Scene,
    ends: tuple[Party, Party | None],
    pair: tuple[Instance, Instance | None],
    target: str,
    verdict: ProbeVerdict,
) -> TestedPort:
    """A port, with the pair that was tested, and of how many."""
    a, b = pair
    to = id_account_name(scene, b.party) if b else (target, "", "")
    return TestedPort(
        *id_account_name(scene, a.party),
        *to,
        address=b.ip if b else target,
        requested_parties=AskedParties(str(ends[0]), str(ends[1] or target)),
        members=TestedOf(*(len(_testable(scene, end)) if end else 1 for end in ends)),
        port=str(verdict.port),
        reached=verdict.result.reached,
        result=verdict.result.value,
        output=verdict.output,
        state=verdict.effect.word,
        state_detail=verdict.detail,
        rules=rules_of(verdict),
        contradiction=verdict.contradiction,
        conclusion=verdict.explanation,
    )


def _show(tested: list[TestedPort]) -> None:
    rows = [(answer.port, REACHED[answer.reached], answer.state, last_line(answer.output)) for answer in tested]
    columns = ("port", "reached", "rules say", "output")
    if not sys.stdout.isatty():
        print_tsv([(*columns, "why"), *((*row, answer.conclusion) for row, answer in zip(rows, tested, strict=True))])
        return
    pair, out = tested[0], console()
    title = " → ".join(EXACT.ends(pair)) + (f" at {pair.address}" if pair.address != pair.target else "")
    draw_table(out, title, columns, rows)
    for tested_port in tested:
        out.print(escape(f"{tested_port.port}: {tested_port.conclusion}"))
    counts, parties = pair.members, pair.requested_parties
    if counts.source * counts.target > 1:
        text = f"one pair of {counts.source} × {counts.target} instances: {parties.source} → {parties.target}"
        out.print(escape(text))
    if any(answer.state == "blocked" and not answer.contradiction for answer in tested):
        ends = f"{pair.source}@{pair.from_account} {pair.target}@{pair.to_account}"
        blocked = next(answer.port for answer in tested if answer.state == "blocked")
        out.print(f"what to do: link-peer explain {ends} {blocked}")
