"""`link-peer audit --evidence`: write the evidence of a period as CSV, and as a page that prints."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import typer
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import iso
from rich.markup import escape

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.operation import EvidenceWritten
from link_peer_cli.audit.elsewhere import HasFunctions
from link_peer_cli.audit.evidence import COLUMNS, SECTIONS, Evidence, Row, gather
from link_peer_cli.audit.verify import READ_ALL
from link_peer_cli.ui import files
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.printed import printed
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import write_csv

PRINTED_COLUMNS = ("time", "from", "to", "ports", "caused by", "asked by", "what and why", "consent", "key")
NOTES = {
    "opened": "Each change that was made for a link. Two deliveries at the same time may both record one rule: count the ids of rules.",
    "guardrail": "An entry of never in the policy file refused the link, or a sweep held removals above the limit.",
    "consented": "By tags of groups. Consent by allow in the policy file is in the history of that file.",
    "revoked": "By somebody other than link-peer, as ActionTrail has it: the call's RequestId is named, and what tighten saw.",
    "stood": "According to the log; docs/audit.md says what it cannot know. The key is that of the record that says so.",
    "exception": "What audit --verify finds. They have no record: the call's RequestId in ActionTrail is named instead.",
}


def export(
    env: Environment, since: float, until: float, place: str, has_functions: HasFunctions | None, *, as_json: bool
) -> None:
    """Write the evidence into a folder, or into the one file that `place` names by its suffix, `.csv` or `.html`; exit
    with 1 if there is an exception. `has_functions` as in `gather`. Raises LinkPeerError if the log cannot be read, or
    a file written."""
    paths = _paths(place, f"evidence-{iso(since)[:10]}-to-{iso(until)[:10]}")
    for path in paths:
        files.require_writable(path)
    with waiting("reading the audit log and ActionTrail"):
        evidence = gather(env, since, until, has_functions)
    out = io.StringIO()
    write_csv(out, [COLUMNS, *([row[name] for name in COLUMNS] for row in evidence.rows)])
    csv = out.getvalue().encode()
    for path in paths:
        files.write(path, csv if path.endswith(".csv") else _page(env, (since, until), evidence, csv).encode())
    count = Counter(row["section"] for row in evidence.rows)
    counts = {name: count[name] for name in SECTIONS}
    if as_json:
        print_answer(
            EvidenceWritten(
                paths, iso(since), iso(until), [iso(moment) for moment in evidence.moments], counts, evidence.unread
            )
        )
    else:
        console().print(", ".join(f"{name} {number}" for name, number in counts.items()))
        for path in paths:
            console().print(escape(f"written: {path}"))
        if evidence.unread:
            warn([f"not read: {evidence.unread}; {READ_ALL}"])
    if evidence.exit:
        raise typer.Exit(evidence.exit)


def _paths(place: str, name: str) -> list[str]:
    if Path(place).suffix in (".csv", ".html"):
        return [place]
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise LinkPeerError(f"{place!a} cannot be made: {getattr(error, 'strerror', error)}") from None
    return [str(Path(place) / f"{name}{suffix}") for suffix in (".csv", ".html")]


def _page(env: Environment, period: tuple[float, float], evidence: Evidence, csv: bytes) -> str:
    facts = [
        ("period", " to ".join(map(iso, period))),
        ("deployment", f"{env.policy.deployment} of account {env.policy.home}, {env.settings.region}"),
        ("ActionTrail not read in", evidence.unread or "no other region: all were read"),
        ("logstores", f"{env.settings.audit_project}: {env.settings.audit_logstore}, {env.settings.operator_logstore}"),
        ("written", f"{iso(env.now)} by link-peer {version('link-peer')}"),
        ("SHA-256 of the CSV", hashlib.sha256(csv).hexdigest()),
        ("check a sample", "link-peer audit key=KEY --from TIME --json prints the record with this key"),
    ]
    moments = [iso(moment) for moment in evidence.moments]
    tables = [
        (
            f"{heading}{moment and ': '}{moment}",
            NOTES.get(name, ""),
            [_cells(row) for row in evidence.rows if row["section"] == name and moment in ("", row["time"])],
        )
        for name, heading in SECTIONS.items()
        for moment in (moments if name == "stood" else [""])
    ]
    return printed(
        f"link-peer: evidence of {iso(period[0])[:10]} to {iso(period[1])[:10]}", facts, PRINTED_COLUMNS, tables
    )


def _cells(row: Row) -> tuple[str, ...]:
    ends = ("@".join(filter(None, [row[side], row[f"{side}_account"]])) for side in ("from", "to"))
    ended = f"since {row['since']}{', until ' + row['until'] if row['until'] else ''}" if row["since"] else ""
    explanation = "; ".join(filter(None, [row["claimed_reason"], row["reason"], row["detail"], ended, row["rules"]]))
    key = f"{row['key']} in {row['logstore']}" if row["key"] else row["api_requests"]
    return (row["time"], *ends, row["ports"], row["actor"], row["asked_by"], explanation, row["consent"], key)
