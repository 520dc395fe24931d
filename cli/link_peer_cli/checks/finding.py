"""What a check found out, and all of it as a person reads it: what is ok in few lines, problems below, the worst last.
Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from link_peer_cli.ui.remedies import DOCTOR, remedy

OK, WARNING, DIFFERS, MISSING, UNKNOWN = "ok", "warning", "differs", "missing", "unknown"
FAILING = frozenset({DIFFERS, MISSING, UNKNOWN})
"""The states with which the doctor does not say that all stands."""
COLOURS = {OK: "green", WARNING: "yellow"}
PLATFORM, TENANTS = "platform", "tenants"


class CheckFinding(msgspec.Struct, frozen=True):
    """The result of one check."""

    state: str  # ok, warning, differs (from what is shipped), missing, or unknown: it could not be read
    where: str  # an account's uid; empty for link-peer itself
    subject: str
    detail: str
    advice: str = ""
    part: str = PLATFORM  # whom it concerns: those who run link-peer, or those who ask for links and consent to them


def unreadable(where: str, subject: str, error: Exception) -> CheckFinding:
    """The finding for what could not be read, for lack of rights or because the service does not answer."""
    advice = remedy(error, where).removesuffix(f": {DOCTOR}")  # the command is this one
    return CheckFinding(UNKNOWN, where, subject, f"cannot be read: {error}", advice)


ORDER = (OK, WARNING, UNKNOWN, DIFFERS, MISSING)
FEW = 3  # that are named, of many
SPELLED_OUT = 3  # findings of one kind that are ok and have a line each


def report(findings: Sequence[CheckFinding]) -> list[CheckFinding]:
    """The findings by state. More than a few of one kind that are ok are one; of many that say the same of other
    accounts, the first are named. An advice is for those before it without one, too."""
    fine = [finding for finding in findings if finding.state == OK]
    merged: list[CheckFinding] = []
    for kind, count in Counter(map(_kind, fine)).items():
        many = [CheckFinding(OK, "", f"{kind} × {count}", "")] if count > SPELLED_OUT else []
        merged += many or [finding for finding in fine if _kind(finding) == kind]
    wrong = [
        *_first_of_each(
            sorted(
                (finding for finding in findings if finding.state != OK), key=lambda finding: ORDER.index(finding.state)
            )
        )
    ]
    following = [*(finding.advice for finding in wrong), ""][1:]
    return merged + [
        replace(finding, advice="") if finding.advice == after else finding
        for finding, after in zip(wrong, following, strict=True)
    ]


def _first_of_each(findings: Sequence[CheckFinding]) -> Iterator[CheckFinding]:
    """Of many accounts for which a check says the same, the first, and how many there are besides."""
    alike = Counter((finding.state, finding.subject, finding.advice) for finding in findings if finding.where)
    yielded: Counter[tuple[str, str, str]] = Counter()
    for candidate_finding in findings:
        kind = (candidate_finding.state, candidate_finding.subject, candidate_finding.advice)
        yielded[kind] += 1
        if alike[kind] <= SPELLED_OUT + 1 or yielded[kind] <= FEW:
            yield candidate_finding
        elif yielded[kind] == FEW + 1:
            yield replace(candidate_finding, where="", detail=f"{alike[kind] - FEW} more accounts: `--json` has all")


def counts(findings: Sequence[CheckFinding]) -> str:
    """How many findings there are of each state, the worst first: `1 missing, 2 warnings, 41 ok`."""
    totals = Counter(finding.state for finding in findings)
    words = [(totals[state], f"{state}s" if state == WARNING and totals[state] > 1 else state) for state in ORDER]
    return ", ".join(f"{count} {word}" for count, word in reversed(words) if count)


def _kind(finding: CheckFinding) -> str:
    """What a check is about, by its first word: function, trigger, role, access."""
    return finding.subject.split(" ")[0].rstrip(":")


def few(names: Iterable[object]) -> str:
    """The first of some names, and how many more there are."""
    unique_names = sorted(set(map(str, names)))
    return ", ".join(unique_names[:FEW]) + (f" and {len(unique_names) - FEW} more" if len(unique_names) > FEW else "")
