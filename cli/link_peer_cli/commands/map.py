"""`link-peer map`: draw who may reach whom, according to our rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from link_peer.domain.errors import BadInput
from link_peer.domain.tags import iso

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.answers.links import LinkArrow, MapFile
from link_peer_cli.audit.story import Asked
from link_peer_cli.inventory.reading import View, view_of
from link_peer_cli.inventory.shown import LINKS, answers_of, link_answers, links_of
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import print_answer, print_document, warn
from link_peer_cli.ui.drawing.figures import mermaid, svg
from link_peer_cli.ui.drawing.html import html
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.files import require_writable, write
from link_peer_cli.ui.looked import say_none
from link_peer_cli.ui.options import Tagged
from link_peer_cli.ui.progress import counter, progress_bar, waiting

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

    A file map.html is a page to search, filter and click in; it needs no network.
    """

    form = _form(form, output)
    if output:
        require_writable(output)
    env = load_environment(reading=True)
    view = view_of(suppose(env, "map")[0], tagged=tagged)
    with progress_bar(unless=as_json) as bar:
        view.read_all(counter(bar, "groups read"))
    unknown = ""
    if as_json:
        for arrow in _arrows(env, view):
            print_answer(arrow)
    else:
        with waiting("drawing"):
            text, unknown = _text(env, view, form)
        if output:
            write(output, text.encode())
        else:
            print_document(text)
    if not links_of(env, view):
        say_none(LINKS.empty_message)
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


def _text(env: Environment, view: View, form: str) -> tuple[str, str]:
    """The map in a format, and why the audit log could not be read, if so."""
    names = {uid: account.name for uid, account in env.policy.accounts.items()}
    if form in ("mermaid", "svg"):
        return {"mermaid": mermaid, "svg": svg}[form](_arrows(env, view), names), ""
    content, unknown = _file(env, view, names)
    document = msgspec.to_builtins(content)
    return html(document) if form == "html" else json.dumps(document, ensure_ascii=False, indent=2) + "\n", unknown


def _file(env: Environment, view: View, names: dict[str, str]) -> tuple[MapFile, str]:
    """What the file says, and why the audit log could not be read, if so."""
    now = env.now
    links, unknown = answers_of(env, view, links_of(env, view))
    problems = [*view.problems, *filter(None, [unknown, view.gap])]
    return MapFile(iso(int(now)), env.settings.region, names, links, problems), unknown


def _arrows(env: Environment, view: View) -> list[LinkArrow]:
    """The links as arrows. The log is not asked who asked for them and consented."""
    standing_links = links_of(env, view)
    view.deciding((link.source, link.target) for link in standing_links)
    links = link_answers(env, view.scene, standing_links, Asked())
    return [LinkArrow(*(getattr(link, field) for field in LinkArrow.__struct_fields__)) for link in links]
