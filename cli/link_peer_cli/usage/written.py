"""The file of a proposal: links with the evidence for them, sorted, fit for a pull request; and how it is read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

from link_peer.domain.errors import BadInput, PolicyError
from link_peer.domain.model import Party, Port, ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import covers, iso, parse_party, parse_port
from link_peer.inbound.policy_types import Instant
from link_peer.inbound.policy_types import Port as PortText
from link_peer.inbound.yaml_reader import YamlReader
from link_peer.planning.consent import denied_by_policy
from link_peer.planning.consent import names as is_named
from link_peer.planning.guardrails import never_denial
from msgspec import UNSET, Meta, Struct, UnsetType

from link_peer_cli.consent.entries import entry
from link_peer_cli.inventory.period import Period
from link_peer_cli.usage.proposal import Consent, Leftover, Proposal, ProposedLink
from link_peer_cli.usage.rules import Carried

MAX_UNSEEN = 20  # instances that a comment names
_ID = "(sg|i|eni)-[0-9a-z]{1,60}(@[0-9]{15,20})?"
_ADDRESS = r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?"
End: TypeAlias = Annotated[
    str, Meta(pattern=f"^{_ID}$", extra={"must": "be sg-… or i-…, with @<uid> where it is not home's"})
]
Origin: TypeAlias = Annotated[str, Meta(pattern=f"^({_ID}|{_ADDRESS})$", extra={"must": "be a party or an address"})]
_ENDS = {"source": "from", "target": "to"}
_Count: TypeAlias = Annotated[int, Meta(ge=0, extra={"must": "be a whole number"})]
_LISTED = Meta(min_length=1, extra={"must": "list the ports"})


class ConsentEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """The entry that a group has to accept."""

    on: End
    entry: str


class SeenPackets(Struct, frozen=True, forbid_unknown_fields=True):
    """On how many days of UTC packets came, when last, and in how many lines of the log."""

    days: _Count
    last: Instant
    lines: _Count


class LinkEntry(Struct, frozen=True, forbid_unknown_fields=True, rename=_ENDS):
    """A link. `egress`: the consent of a source whose group lets nothing out by default."""

    source: End
    target: End
    ports: Annotated[list[PortText], _LISTED]
    consent: ConsentEntry
    evidence: SeenPackets
    egress: ConsentEntry | UnsetType = UNSET


class LeftEntry(Struct, frozen=True, forbid_unknown_fields=True, rename={**_ENDS, "reason": "why"}):
    """What no link carries."""

    source: Origin
    target: End
    ports: Annotated[list[str], _LISTED]
    reason: str
    evidence: SeenPackets


class ProposalFile(Struct, frozen=True, forbid_unknown_fields=True, rename={"leftovers": "left"}):
    """The file."""

    links: list[LinkEntry] = []
    leftovers: list[LeftEntry] = []


def text_of(proposal: Proposal, period: Period, home: str) -> str:
    """The file of a proposal."""
    lines = [
        f"# What wide rules carried from {iso(period.since)} to {iso(period.until)}, as links. link-peer check reads it.",
        "links:" if proposal.links else "links: []",
    ]
    for link in proposal.links:
        lines += _link_lines(link, period, home)
    lines.append("left:" if proposal.leftovers else "left: []")
    for leftover in proposal.leftovers:
        lines += _left_lines(leftover, period, home)
    return "\n".join(lines) + "\n"


def evidence_of(parts: Iterable[Carried], period: Period) -> SeenPackets:
    """The evidence of packets."""
    flows = {part.flow for part in parts}
    hours = 0
    for flow in flows:
        hours |= flow.hours
    return SeenPackets(
        period.day_count(hours), iso(max(flow.last for flow in flows)), sum(flow.lines for flow in flows)
    )


def end_text(party: Party, home: str) -> str:
    """A party as the file names it."""
    return party.id if party.account == home else str(party)


def _link_lines(proposed: ProposedLink, period: Period, home: str) -> Iterator[str]:
    for party in proposed.unseen[:MAX_UNSEEN]:
        yield f"# the next link also admits {party}, which was not seen"
    if len(proposed.unseen) > MAX_UNSEEN:
        yield f"# and {len(proposed.unseen) - MAX_UNSEEN} more"
    yield from _ends_lines(
        end_text(proposed.link.source, home), end_text(proposed.link.target, home), proposed.link.ports
    )
    key_of = {False: "consent", True: "egress"}
    written: dict[bool, Consent] = {}
    for consent in proposed.consents:
        written.setdefault(consent.is_egress, consent)
    for is_egress, consent in sorted(written.items()):
        comment = "  # it is there" if consent.is_there else ""
        on, text = _quoted(end_text(consent.group, home)), _quoted(consent.entry)
        yield f'    {key_of[is_egress]}: {{"on": {on}, entry: {text}}}{comment}'  # bare, YAML reads `on` as true
    yield _evidence_line(proposed.carried, period)


def _left_lines(leftover: Leftover, period: Period, home: str) -> Iterator[str]:
    source = leftover.source if isinstance(leftover.source, str) else end_text(leftover.source, home)
    yield from _ends_lines(source, end_text(leftover.target, home), [leftover.port])
    yield f"    why: {_quoted(leftover.reason)}"
    yield _evidence_line(leftover.carried, period)


def _ends_lines(source: str, target: str, ports: Iterable[Port]) -> Iterator[str]:
    yield f"  - from: {_quoted(source)}"
    yield f"    to: {_quoted(target)}"
    yield f"    ports: [{', '.join(sorted(map(str, ports)))}]"


def _evidence_line(parts: Iterable[Carried], period: Period) -> str:
    evidence = evidence_of(parts, period)
    return f'    evidence: {{days: {evidence.days}, last: "{evidence.last}", lines: {evidence.lines}}}'


def _quoted(text: str) -> str:
    """A value as the reader takes it: in quotes, without what it refuses there."""
    return '"' + "".join(char if " " <= char <= "~" and char not in '"\\' else "'" for char in text) + '"'


def text_in(path: Path) -> str:
    """The text of such a file; empty if it is another one, such as a policy file, by its first key. Raises OSError."""
    text = path.read_bytes().decode("utf-8", "replace")
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return text if next(lines, "").startswith(("links:", "left:")) else ""


def checked(text: str, name: str, policy: Policy | None) -> tuple[ProposalFile, list[str]]:
    """The content of a file, and what is wrong with its links, by the policy if there is one. `name` is the file's in
    errors. Raises PolicyError, which gives the line at fault, where it cannot be read."""
    reader = YamlReader(text, name)
    proposal = reader.decode(ProposalFile) or ProposalFile()
    problems = []
    for number, link in enumerate(proposal.links):
        for problem in _link_problems(link, policy):
            try:
                reader.fail(f"links[{number}].from", problem)
            except PolicyError as error:
                problems.append(str(error))
    return proposal, problems


def _link_problems(link: LinkEntry, policy: Policy | None) -> Iterator[str]:
    home = policy.home if policy else "the home account"
    source, target, holder = (parse_party(end, home) for end in (link.source, link.target, link.consent.on))
    if source.is_group != target.is_group:
        yield "a link is between two groups, or between two instances"
    if not holder.is_group:
        yield "a group consents, for the instances that are in it"
    ports = tuple(map(parse_port, link.ports))
    for account in sorted({source.account, target.account} - policy.accounts.keys()) if policy else ():
        yield f"account {account} is not in the policy"
    denial = policy and (denied_by_policy(policy, ports) or never_denial(Snapshot(), policy, source, target, ports))
    if denial and not denial.undecided:
        yield f"the policy opens no link on {ports_text(ports)}: {denial.detail}"
    try:
        accept = entry(link.consent.entry, holder.account, "consent.entry")
    except BadInput as error:
        yield str(error)
        return
    if not is_named(accept.party, source) or not all(covers(accept.ports, port) for port in ports):
        yield f"the entry {link.consent.entry} does not cover the link from {source} on {ports_text(ports)}"
