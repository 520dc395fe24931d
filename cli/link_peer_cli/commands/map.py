"""`link-peer map`: draw who may reach whom, by whosever rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from link_peer.domain.denials import about
from link_peer.domain.errors import BadInput
from link_peer.domain.model import ports_text
from link_peer.domain.tags import iso
from link_peer.planning.decision import Decision
from link_peer.views.reach import Scene
from link_peer.views.standing import Standing
from link_peer.views.who import parties_in_rules

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.answers.links import DeniedWish, Ends, LinkAnswer, LinkArrow, MapFile, MapRule, Reacher
from link_peer_cli.audit.story import RequestStories
from link_peer_cli.inventory.reachers import by_rule, reachers
from link_peer_cli.inventory.reading import View, view_of
from link_peer_cli.inventory.shown import LINKS, answers_of, id_account_name, link_answers, links_under
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import number, print_answer, print_document, warn
from link_peer_cli.ui.drawing.figures import mermaid, svg
from link_peer_cli.ui.drawing.html import html
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.files import require_writable, write
from link_peer_cli.ui.looked import say_none
from link_peer_cli.ui.options import Tagged
from link_peer_cli.ui.progress import counter, progress_bar, waiting

PERSON = "person"
LEFT_OUT = (
    "packets between members of one group without a rule: link-peer who lists them",
    "rules that drop, and egress rules of people: the states count them",
    "requests that were denied: link-peer audit lists them",
)
"""What no map shows."""

FORMS = {".html": "html", ".htm": "html", ".svg": "svg", ".mmd": "mermaid", ".json": "json"}
"""The format of a file, by its suffix."""


def draw_map(
    output: Annotated[
        str,
        typer.Option(
            "--out", help="The file to write: .html, .svg, .mmd or .json. Default: Mermaid on stdout.", metavar="FILE"
        ),
    ] = "",
    form: Annotated[
        str, typer.Option("--format", help="Default: that of the file's suffix.", metavar="html|svg|mermaid|json")
    ] = "",
    tagged: Tagged = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Draw who may reach whom: every existing link, in all accounts of the policy.

    A file map.html is a page to search, filter and click in; it needs no network. It, .json and --json also have
    people's rules and the wishes that are denied, apart from the links.
    """

    form = _form(form, output)
    if output:
        require_writable(output)
    env = load_environment(reading=True)
    view = view_of(suppose(env, "map")[0], tagged=tagged)
    with progress_bar(unless=as_json) as bar:
        view.read_all(counter(bar, "groups read"))
    content = _MapContent.read(env, view)
    unknown = ""
    if as_json:
        for arrow in content.all_arrows():
            print_answer(arrow)
    else:
        with waiting("drawing"):
            text, unknown = content.text(form)
        if output:
            write(output, text.encode())
        else:
            print_document(text)
    if not content.links:
        say_none(LINKS.empty_message + content.denials)
    warn([*view.problems, unknown, view.gap])
    if view.problems:
        raise typer.Exit(Exit.REFUSED)


def _form(form: str, output: str) -> str:
    """The format to write: the one that is asked for, else that of the file's suffix."""
    if form:
        if form not in FORMS.values():
            raise BadInput("--format", f"{form} is not one of html, svg, mermaid, json")
        return form
    if not output:
        return "mermaid"
    suffix = Path(output).suffix.lower()
    if suffix not in FORMS:
        raise BadInput("--out", f"{output} does not end in .html, .svg, .mmd or .json: say which with --format")
    return FORMS[suffix]


class _MapContent(msgspec.Struct, frozen=True):
    """The links, and the wishes that the next sweep denies."""

    env: Environment
    view: View
    links: list[Standing]
    denied: list[DeniedWish]

    @classmethod
    def read(cls, env: Environment, view: View) -> _MapContent:
        """From a view that read everything; what decides about the links is read, too."""
        plan = view.next_sweep(env.settings.region, env.now)
        links = links_under(env, view, plan)
        view.deciding((link.source, link.target) for link in links)
        region, scene = env.settings.region, view.scene
        denied = [
            _denied_wish(scene, decision, region)
            for decision in plan.decisions
            if decision.outcome in ("denied", "failed")
        ]
        return cls(env, view, links, denied)

    @property
    def denials(self) -> str:
        """Of how many links that tags ask for there is none, in a sentence; empty if none is denied."""
        count = number(len(self.denied), "link")
        return f" Tags ask for {count} without success: link-peer doctor says why." if self.denied else ""

    def text(self, form: str) -> tuple[str, str]:
        """The map in a format, and why the audit log could not be read, if so."""
        names = {uid: account.name for uid, account in self.env.policy.accounts.items()}
        if form in ("mermaid", "svg"):
            return {"mermaid": mermaid, "svg": svg}[form](self.arrows(self.link_answers()), names), ""
        content, unknown = self._file(names)
        if form == "html":
            return html(msgspec.to_builtins(content)), unknown
        return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n", unknown

    def _file(self, names: dict[str, str]) -> tuple[MapFile, str]:
        """What the file says, and why the audit log could not be read, if so."""
        env, view = self.env, self.view
        links, unknown = answers_of(env, view, self.links)
        problems = [*view.problems, *filter(None, [unknown, view.gap])]
        rules = self._rules(links)
        place = iso(int(env.now)), env.settings.region, names
        return MapFile(*place, links, rules, self.denied, problems, [*LEFT_OUT]), unknown

    def link_answers(self) -> list[LinkAnswer]:
        """The links. The log is not asked who asked for them and consented."""
        return link_answers(self.env, self.view.scene, self.links, RequestStories())

    def arrows(self, links: Sequence[LinkAnswer]) -> list[LinkArrow]:
        """The links as arrows."""
        return [
            LinkArrow(
                *_ends_of(link),
                link.ports,
                link.state,
                link.claims,
                link.written,
                link.deployment,
                "link-peer",
                link.state_detail,
            )
            for link in links
        ]

    def all_arrows(self) -> list[LinkArrow]:
        """The links, people's rules and denied wishes as arrows."""
        links = self.link_answers()
        rules = [rule for rule in self._rules(links) if rule.made_by == PERSON]
        return [
            *self.arrows(links),
            *(
                LinkArrow(*_ends_of(rule), rule.ports, rule.state, [], "", "", PERSON, rule.state_detail)
                for rule in rules
            ),
            *(
                LinkArrow(*_ends_of(wish), wish.ports, "denied", [], "", "", "", f"{wish.reason}: {wish.detail}")
                for wish in self.denied
            ),
        ]

    def _rules(self, links: Sequence[LinkAnswer]) -> list[MapRule]:
        """Every rule that admits somebody to a group, or to an instance with links. What decides about them is read,
        unless only what is `tagged` is."""
        view, accounts = self.view, self.env.policy.accounts
        scene, answers = view.scene, by_rule(self.links, links)
        groups = scene.snapshot.rules if view.tagged else scene.snapshot.groups
        parties = sorted({*groups, *(end for link in self.links for end in (link.source, link.target))})
        if not view.tagged:
            pairs = [(source, party) for party in parties for source in parties_in_rules(scene, party)]
            view.deciding(pair for pair in pairs if pair[0] != pair[1] and pair[0].account in accounts)
            scene = view.scene
        return [_map_rule(reacher) for party in parties for reacher in reachers(scene, party, answers, members=False)]


def _ends_of(answer: Ends) -> tuple[str, str, str, str, str, str]:
    """Both ends, as every answer about a link begins."""
    source = answer.source, answer.from_account, answer.from_name
    return *source, answer.target, answer.to_account, answer.to_name


def _map_rule(reacher: Reacher) -> MapRule:
    made_by = PERSON if reacher.by == "a person" else reacher.by
    return MapRule(*_ends_of(reacher), made_by, *(getattr(reacher, name) for name in MapRule.__struct_fields__[7:]))


def _denied_wish(scene: Scene, decision: Decision, region: str) -> DeniedWish:
    link, denial = decision.link, about(decision.denial, decision.action, decision.link, region)
    target = id_account_name(scene, link.target) if link.target.id else (decision.raw, link.target.account, "")
    ports = "" if decision.raw else ports_text(link.ports)
    asked_by = [scene.titled(decision.instance)] if decision.instance else []
    return DeniedWish(
        *id_account_name(scene, link.source),
        *target,
        ports,
        denial.reason.code,
        denial.detail,
        denial.advice,
        asked_by,
    )
