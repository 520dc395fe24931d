"""The table of answers: what each command prints with `--json`."""

from __future__ import annotations

from typing import Any, NamedTuple

from link_peer.runtime.ports import Record

from link_peer_cli.answers import changes, deployment, links, operation, usage


class Printed(NamedTuple):
    """The types of what a command prints: the usual one first. `lines`: one object a line, else one document. A note is
    for what no type says."""

    types: tuple[Any, ...]
    lines: bool = False
    note: str = ""


ANSWERS = {
    "accept": Printed((changes.ConsentChange,)),
    "account add": Printed((deployment.AccountAdded,)),
    "account list": Printed((deployment.ListedAccount,), lines=True),
    "account remove": Printed((deployment.AccountClosed, deployment.AccountRemoved)),
    "adopt": Printed((changes.AdoptionAnswer, changes.AdoptedBefore)),
    "apply": Printed((changes.Applied, changes.NotApplied)),
    "audit": Printed(
        (operation.Mismatch, operation.EvidenceWritten, Record), lines=True, note="A record of the audit log."
    ),
    "check": Printed((deployment.CheckedFile,), lines=True),
    "close": Printed((changes.CloseAnswer, changes.PairClosed)),
    "demo": Printed((operation.DemoAnswer,)),
    "doctor": Printed((deployment.DoctorFinding,), lines=True),
    "explain": Printed((links.Explanation,)),
    "failed": Printed((operation.FailedInvocation, operation.Replayed), lines=True),
    "init": Printed((deployment.FilesWritten,)),
    "links": Printed((links.LinkAnswer,), lines=True),
    "local": Printed((operation.CloudDescribed,)),
    "map": Printed((links.LinkArrow,), lines=True),
    "package": Printed((deployment.PackageBuilt,)),
    "plan": Printed((changes.PlanAnswer, changes.PolicyPlan)),
    "reopen": Printed((changes.Reopening,)),
    "request": Printed(
        (changes.Posted, changes.NotPosted, changes.PlanAnswer, Record),
        lines=True,
        note="With `--dry-run`, the plan of it. With `--wait`, what was posted is on stderr, and records of the outcome on stdout.",
    ),
    "setup": Printed(
        (deployment.ResourceAnswer, deployment.Fault, deployment.Caution, deployment.SetupUndone), lines=True
    ),
    "sweep": Printed((changes.Swept,)),
    "tighten": Printed((usage.TightenedRule, usage.ProposedCommand), lines=True),
    "verify": Printed((links.TestedPort,), lines=True),
    "--version": Printed((dict[str, str],), note="The version of each package, and of `python`."),
    "who": Printed((links.Reacher,), lines=True),
    "withdraw": Printed((changes.ConsentChange,)),
}
"""By the command's name."""
