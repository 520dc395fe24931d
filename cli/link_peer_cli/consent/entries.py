"""Changes to the tags by which a security group consents, and to the peer tags of an instance: entries that are added,
replaced and taken off; and keys of tags that only look like those of link-peer. Pure."""

from __future__ import annotations

import difflib
import itertools
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from link_peer.domain.denials import parts
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import Group, Instance, Party
from link_peer.domain.tags import (
    TAGS,
    Accept,
    TagKeys,
    accepts,
    compact,
    egress_accepts,
    parse_accept,
    parse_party,
    similar_keys,
    split,
)
from link_peer.planning.consent import MAX_TAGS, TAG_VALUE, entries_of, free_keys


class TagEdit(msgspec.Struct, frozen=True):
    """What changes on a group's tags."""

    put: dict[str, str]  # to be set: value by key
    drop: list[str]  # keys to be deleted
    added: list[str]  # entries
    removed: list[str]  # entries
    before: dict[str, str]  # the values that these tags have until then, by key
    is_egress: bool = False  # the entries say whom the group may reach, not whom it accepts

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.put or self.drop)

    def still_fits(self, tags: Mapping[str, str]) -> bool:
        """Whether the tags that it sets and deletes are as they were. It writes whole values: where somebody changed
        one meanwhile, it would undo that, and bring back consent that was withdrawn."""
        return self.before == {key: tags[key] for key in [*self.put, *self.drop] if key in tags}


def entry(text: str, account: str, field: str) -> Accept:
    """Parse `<who>[:<ports>][~<end>]`, as a tag of a group of `account` has it. Raises BadInput that names `field`."""
    pieces = split(text)
    if len(pieces) != 1:
        raise BadInput(field, "one entry is expected: <who>[:<ports>]")
    try:
        return parse_accept(pieces[0], account, text)
    except BadInput as error:
        raise BadInput(field, error.problem) from None


def adding(
    tags: Mapping[str, str], account: str, entries: Sequence[Accept], keys: TagKeys, *, egress: bool = False
) -> TagEdit:
    """The change that adds entries. One for the same party and ports gets the new end; an equal one stays as it is.

    Each is put into a tag of its own, so that no other consent is written again: one that is withdrawn at that moment
    stays withdrawn. Where no consenting key is free, it joins the first value with room. An entry longer than a tag is
    divided by its ports. Raises LinkPeerError where there is no room.
    """
    consenting = keys.letting_out if egress else keys.accepting
    values = _values(tags, consenting)
    free = free_keys(tags, keys, egress=egress)
    added: list[str] = []
    removed: list[str] = []
    for text in [text for addition in entries for text in _texts(addition, account)]:
        new_entry = entry(text, account, "entry")
        read = _read(values, account, keys, egress=egress)
        matching_entries = [
            (key, piece, old)
            for key, piece, old in read
            if (old.party, old.ports) == (new_entry.party, new_entry.ports)
        ]
        if any(old.until == new_entry.until for _, _, old in matching_entries):
            continue
        for key, piece, _ in matching_entries:
            values[key].remove(piece)
            removed.append(piece)
        emptied = [key for key, _, _ in matching_entries if not values[key]]
        key = next(iter([*emptied, *free, *(key for key in values if _fits(values[key], text))]), "")
        if not key:
            raise LinkPeerError(
                f"there is no room for the entry {text}: the group has no consenting key left ({consenting[0]} and "
                f"{consenting[1]} to {consenting[-1]}, and {MAX_TAGS} tags in all), and no value with room. Take "
                "entries off that are not needed (link-peer withdraw); link-peer sweep --dry-run lists those that match nothing"
            )
        values.setdefault(key, []).append(text)
        free = [free_key for free_key in free if free_key != key]
        added.append(text)
    return _edit(tags, values, added, removed, egress=egress)


def asking(tags: Mapping[str, str], text: str, keys: TagKeys) -> dict[str, str]:
    """The tags (key to value) to set on an instance so that it asks for one peer more, `<party>[:<ports>]`."""
    values = _values(tags, sorted(key for key in tags if key == keys.peer or key.startswith(f"{keys.peer}.")))
    numbered = itertools.chain([keys.peer], (f"{keys.peer}.{number}" for number in itertools.count(2)))
    places = itertools.chain((key for key in values if _fits(values[key], text)), numbered)
    key = next(key for key in places if key not in values or _fits(values[key], text))
    return {key: ",".join([*values.get(key, []), text])}


def removing(
    tags: Mapping[str, str], account: str, chosen: Callable[[Accept], bool], keys: TagKeys, *, egress: bool = False
) -> TagEdit:
    """The change that takes off every entry that is `chosen`. A tag without entries is deleted."""
    values = _values(tags, keys.letting_out if egress else keys.accepting)
    removed = [(key, piece) for key, piece, read in _read(values, account, keys, egress=egress) if chosen(read)]
    for key, piece in removed:
        values[key].remove(piece)
    return _edit(tags, values, [], [piece for _, piece in removed], egress=egress)


def advised(advice: str, home: str) -> list[tuple[Party, str, bool]]:
    """The groups and the entries of the `link-peer accept` commands that a denial advises, and whether each is for whom
    the group may reach (`--egress`); none where it advises something else."""
    commands = [shlex.split(text) for text in parts(advice)[1].split("; ")]
    return [
        (parse_party(command[2], home), command[3], "--egress" in command)
        for command in commands
        if command[:2] == ["link-peer", "accept"]
    ]


def _read(
    values: Mapping[str, list[str]], account: str, keys: TagKeys, *, egress: bool
) -> list[tuple[str, str, Accept]]:
    """(key, entry, what it says) of those with valid syntax."""
    read = egress_accepts if egress else accepts
    parsed_entries = read({key: ",".join(pieces) for key, pieces in values.items()}, account, keys)
    return [
        (key, piece, parsed_entry)
        for parsed_entry in parsed_entries
        for key, piece in [parsed_entry.text.split("=", 1)]
    ]


def _values(tags: Mapping[str, str], keys: Sequence[str]) -> dict[str, list[str]]:
    return {key: split(tags[key]) for key in keys if key in tags}


def _fits(pieces: Sequence[str], text: str) -> bool:
    return len(",".join([*pieces, text])) <= TAG_VALUE


def _texts(accept: Accept, account: str) -> list[str]:
    """The entry as it is written; several where it is longer than a tag."""
    party = accept.party.id if accept.party.account == account else f"{accept.party.id}@{accept.party.account}"
    end = f"~{compact(accept.until)}" if accept.until is not None else ""
    return entries_of(party, list(map(str, accept.ports)), end)


def _edit(
    tags: Mapping[str, str], values: Mapping[str, list[str]], added: list[str], removed: list[str], *, egress: bool
) -> TagEdit:
    changed = {key: pieces for key, pieces in values.items() if key not in tags or pieces != split(tags[key])}
    put = {key: ",".join(pieces) for key, pieces in changed.items() if pieces}
    before = {key: tags[key] for key in changed if key in tags}
    return TagEdit(put, [key for key, pieces in changed.items() if not pieces], added, removed, before, egress)


def look_alikes(resource: Group | Instance, keys: TagKeys) -> Iterator[tuple[str, str]]:
    """(the fact, what to do) for each key of a group or an instance that means nothing there and looks like one that
    does."""
    on = "security group" if resource.party.is_group else "instance"
    rows = {getattr(keys, tag.name): tag for tag in TAGS if tag.writer == "person"}
    for key in similar_keys(resource.tags, on, keys):
        [nearest] = difflib.get_close_matches(key.lower().partition(".")[0], rows, n=1, cutoff=0)
        intended_key, where = nearest, rows[nearest].on
        if where == on and nearest in (keys.accept, keys.egress):
            intended_key = next(iter(free_keys(resource.tags, keys, egress=nearest == keys.egress)), nearest)
        advice = f"if you meant {intended_key}, set that on {'an' if where == 'instance' else 'a'} {where}, and remove this tag"
        yield f"the key {key!a} means nothing to link-peer on this {on}", advice


def notes(resources: Iterable[Group | Instance], keys: TagKeys) -> list[str]:
    """The same as sentences that name the party, sorted."""
    return sorted(
        {
            f"{resource.party}: {detail}: {advice}"
            for resource in resources
            for detail, advice in look_alikes(resource, keys)
        }
    )
