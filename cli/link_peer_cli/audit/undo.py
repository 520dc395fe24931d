"""The commands that take back what records say was done: those of a command that has just run, or of an act that the
log has. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from link_peer.domain import marker
from link_peer.domain.errors import BadInput
from link_peer.domain.model import ALL, Claim, Link, Party, Port
from link_peer.domain.tags import TagKeys, iso, parse_party, split
from link_peer.runtime.ports import Record

from link_peer_cli.audit.story import ends_of
from link_peer_cli.audit.trail_records import rules_in, tags_in

Owned = tuple[Link, Claim]
"""A link as one of its rules has it, and a claim that the rule carries."""


def undo(records: Iterable[Record], keys: TagKeys, now: float, standing: Iterable[Owned] = ()) -> list[str]:
    """The commands that lead back to what was before these records, in the order in which they are typed. What a tag of
    an instance asks for has none, and neither has a claim that has ended by `now` (epoch seconds). `standing` are the
    claims on the rules as they are now: an `unlink` takes away those of other requests too, and a request is posted
    with all of its ports."""
    records, standing = list(records), list(standing)
    observed = [record for record in records if record.get("record") == "observed"]
    decided = [record for record in records if record.get("record") == "outcome"]
    unlinked = [link for record in decided if (link := _unlinked_by(record))]
    gained = {claim for record in decided for claim in _gained(record)}
    lost_claims = [owned for record in decided for owned in _lost_claims(record)]
    lost_claims += [owned for owned in standing if any(_takes(link, owned[0]) for link in unlinked)]
    again = requests_again([owned for owned in lost_claims if owned[1] not in gained], now, standing)
    return list(dict.fromkeys((*_of_tags(observed, keys), *map(unlinking, unlinked), *again)))


def depends_on_standing(record: Record) -> bool:
    """Whether what takes a decision back depends on the claims of other rules: requests gained or lost some by it."""
    return bool(_gained(record)) or any(claim.request for _, claim in _lost_claims(record))


def _takes(unlinked: Link, link: Link) -> bool:
    """Whether an `unlink` takes requests' claims off a rule of this link."""
    if unlinked.mutual:
        return {unlinked.source, unlinked.target} == {link.source, link.target}
    return unlinked.pair == link.pair and bool(set(link.ports) & set(unlinked.ports))


def requests_again(lost_claims: Sequence[Owned], now: float, standing: Iterable[Owned] = ()) -> list[str]:
    """The commands that post the requests again to which these claims belong: one for each link and request, with the
    ports that it lost and those on which it stands. The egress rule of a link between instances names a group and an
    instance, which no request does: the link's ingress rule has the same claim."""
    pairs = {(link.pair, claim) for link, claim in lost_claims}
    ports: dict[tuple[tuple[Party, Party], Claim], set[Port]] = {}
    for link, claim in (*lost_claims, *(owned for owned in standing if (owned[0].pair, owned[1]) in pairs)):
        is_of_two_kinds = link.source.is_group != link.target.is_group
        if claim.request and not is_of_two_kinds and (claim.until is None or claim.until > now):
            ports.setdefault((link.pair, claim), set()).update(link.ports)
    return [_request("link", Link(*pair, tuple(claim_ports)), claim) for (pair, claim), claim_ports in ports.items()]


def unlinking(link: Link) -> str:
    """The command that closes a link which a request asked for."""
    return _request("unlink", link)


def _request(action: str, link: Link, claim: Claim | None = None) -> str:
    words = ["link-peer", "request", action, "--from", str(link.source), "--to", str(link.target)]
    words += [word for port in sorted(map(str, link.ports)) for word in ("--port", port)]
    if claim:
        words += ["--until", iso(claim.until)] if claim.until is not None else []
        words += ["--request-id", claim.request]
    return shlex.join(words)


def _unlinked_by(record: Record) -> Link | None:
    """The link whose `unlink` takes away what requests gained by a decision; None if they gained nothing."""
    ports, before = _ports(record), _claims(record.get("old_claims", ""))
    gained, (source, target) = _gained(record), ends_of(record)
    rules = [
        rule for rule, claims in _claims(record.get("claims", "")).items() if claims & gained - before.get(rule, set())
    ]
    return Link(source, target, tuple({port for rule in rules for port in ports.get(rule, ())})) if gained else None


def _gained(record: Record) -> set[Claim]:
    """The requests that gained rules by a decision."""
    before, after = (_claims(record.get(name, "")) for name in ("old_claims", "claims"))
    gained = {claim for rule, claims in after.items() for claim in claims - before.get(rule, set()) if claim.request}
    return gained if record.get("action") == "link" else set()


def _lost_claims(record: Record) -> Iterator[Owned]:
    """The claims that a decision took off its rules."""
    before, after = (_claims(record.get(name, "")) for name in ("old_claims", "claims"))
    ports, (source, target) = _ports(record), ends_of(record)
    for rule, claims in before.items():
        for claim in sorted(claims - after.get(rule, set()), key=lambda claim: claim.request):
            yield Link(source, target, ports.get(rule, ())), claim


def _ports(record: Record) -> dict[str, tuple[Port, ...]]:
    """The port of each rule of a record, by its id; none of a rule for everything."""
    rules = rules_in(record.get("rules", ""))
    return {rule.id: () if rule.key.port == ALL else (rule.key.port,) for rule in rules}


def _claims(text: str) -> dict[str, set[Claim]]:
    """The claims by rule, of a field of a record. What is not of its form proves nothing, and is left out."""
    claims: dict[str, set[Claim]] = {}
    for rule, claims_text in (tags_in(text) or {}).items():
        try:
            claims[rule] = set(marker.claims_in(claims_text)) if claims_text else set()
        except BadInput:
            continue
    return claims


class _GroupChange(msgspec.Struct):
    """What one act changed of the tags of one group: the values before and after, by key."""

    before: dict[str, str | None]
    after: dict[str, str | None]


def _of_tags(records: Sequence[Record], keys: TagKeys) -> Iterator[str]:
    """Those of changes of groups' tags, of each group as a whole: an entry may have moved from one key to another."""
    changes: dict[Party, _GroupChange] = {}
    for record in records:
        group = ends_of(record)[1]
        change = changes.setdefault(group, _GroupChange({}, {}))
        before, after = (tags_in(record.get(name, "")) or {} for name in ("old_tags", "event_tags"))
        change.before = {**before, **change.before}
        change.after |= after
    opened: list[str] = []
    closed: list[str] = []
    for group, change in changes.items():
        locked_before, locked = (keys.own_locks(_present(tags)) for tags in (change.before, change.after))
        opened += [str(group)] if locked_before and not locked else []
        closed += [str(group)] if locked and not locked_before else []
        for names, flags in ((keys.accepting, []), (keys.letting_out, ["--egress"])):
            removed, added = _difference(change, names)
            yield from (shlex.join(["link-peer", "withdraw", str(group), text, *flags]) for text in added)
            yield from (shlex.join(["link-peer", "accept", str(group), text, *flags]) for text in removed)
    for command, groups in (("reopen", closed), ("close", opened)):
        if groups:
            yield shlex.join(["link-peer", command, *groups])
    yield from _of_refusals(changes, keys)


def _of_refusals(changes: Mapping[Party, _GroupChange], keys: TagKeys) -> Iterator[str]:
    """Those of `close --between` and `reopen --between`: one command for both ends."""
    pairs: dict[frozenset[str], str] = {}
    for group, change in changes.items():
        removed, added = _difference(change, keys.closing)
        for command, texts in (("reopen", added), ("close", removed)):
            for text in texts:
                pair = (str(group), _whole(text, group))
                pairs.setdefault(frozenset((command, *pair)), shlex.join(["link-peer", command, "--between", *pair]))
    yield from pairs.values()


def _whole(text: str, group: Party) -> str:
    """An entry's party with its account: `*@<uid>` is the whole account."""
    try:
        return str(parse_party(text, group.account)).removeprefix("*@")
    except BadInput:
        return text.removeprefix("*@")


def _difference(change: _GroupChange, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The entries under these keys that went, and those that came."""
    before, after = (
        [text for name in names for text in split(tags.get(name) or "")] for tags in (change.before, change.after)
    )
    return [text for text in before if text not in after], [text for text in after if text not in before]


def _present(tags: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if value is not None}
