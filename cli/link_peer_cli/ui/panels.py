"""The groups of options in the help of a command that has many: by what they are for, with the same names in every
command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

CHOICE, TIME, WORK, PRINTED = "What it is about", "When", "What it does", "What it prints"
MANY = 8
"""Options of a command that has no groups."""
OPTIONS = {
    CHOICE: [
        "--party",
        "--account",
        "--port",
        "--state",
        "--unused",
        "--tagged",
        "--story",
        "--all",
        "--by",
        "--from",
        "--to",
        "--request-id",
        "--reason",
        "--requested-by",
        "--group",
        "--as",
        "--instance",
        "--between",
        "--deployment",
        "--tag",
        "--policy",
        "--against",
        "--prefix",
        "--notify",
        "--action-policy",
        "--retention",
        "--operators",
        "--name",
        "--role",
        "--queue",
        "--range",
        "--external-id",
        "--closer",
        "--no-closer",
    ],
    TIME: [
        "--expiring",
        "--at",
        "--quarter",
        "--until",
        "--expires-in",
        "--last",
        "--timeout",
    ],
    WORK: [
        "--follow",
        "--verify",
        "--evidence",
        "--all-regions",
        "--dry-run",
        "--wait",
        "--profile",
        "--yes",
        "--adopt",
        "--anyone-may-close",
        "--even-if-alive",
        "--replace",
        "--remove",
        "--with-logs",
        "--force",
        "--write",
    ],
    PRINTED: [
        "--limit",
        "--propose",
        "--commands",
        "--markdown",
        "--rest",
        "--detailed-exitcode",
        "--out",
        "--output",
        "--sort-by",
        "--json",
        "--stack-group",
        "--template",
        "--help",
    ],
}
"""The options of each group."""
PANELS = {option: panel for panel, options in OPTIONS.items() for option in options} | dict.fromkeys(
    ("audit --from", "audit --to"), TIME
)
"""The group of each option; of an option that means something else in one command, after its name."""


def grouped_options(command: str, params: Iterable[Any]) -> list[Any]:
    """The parameters of a command, whose options are in groups, and in the order of these, if it has many."""
    params = list(params)
    options = [param for param in params if param.param_type_name == "option" and not param.hidden]
    if len(options) > MANY + 1:  # with --help
        for option in options:
            name = next(opt for opt in option.opts if opt.startswith("--"))
            option.rich_help_panel = PANELS.get(f"{command} {name}") or PANELS[name]
    places = [None, *OPTIONS]
    return sorted(params, key=lambda param: places.index(getattr(param, "rich_help_panel", None)))
