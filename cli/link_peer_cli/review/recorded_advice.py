"""What old records advise, judged again against what is so now, before it is printed: a command of a month ago may open
what nobody asks for any more, or take off a lock that was set since.

| what is so now                                | the advice                                                        |
|-----------------------------------------------|-------------------------------------------------------------------|
| the same denial, resolved by the same command | that of now                                                       |
| another denial                                | what was, what is, and the command for that                       |
| nothing denies it, and it does not stand      | as it was recorded if that asks again; else what was, and this    |
| the link stands, or no tag asks for it        | what was, and this                                                |
| it cannot be read                             | as words of its time: no command to type                          |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec
from link_peer.domain.denials import Denial, about, parts
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Link, Party, Port
from link_peer.domain.tags import parse_instant, parse_party, parse_ports
from link_peer.planning.claims import links_from_tags
from link_peer.planning.decision import Context, DesiredLink
from link_peer.planning.verdict.answers import wish_denial
from link_peer.planning.verdict.single_link import no_group_accepted, uncounted
from link_peer.runtime.ports import Record
from link_peer.views.standing import standing

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.story import ends_of
from link_peer_cli.inventory.reading import View, verdict_if_asked, view_of
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import when

JUDGED = 20
"""Pieces of advice, the newest, that one command judges again: each costs some calls."""
ONLY_NEWEST = "only the advice of the newest {} is"
_UNTIL = re.compile(r" --until (\S+)")
_LINK = ("region", "deployment", "action", "from_account", "from", "to_account", "to", "ports", "instance", "advice")


class Present(msgspec.Struct, frozen=True):
    """What is true now of a record's link."""

    denial: Denial | None = None  # why it is denied now, in the words of `about`
    stands: bool = False
    wished: bool = True  # somebody asks for it, as far as tags tell

    @property
    def fact(self) -> str:
        """What it says, but for who asks."""
        if self.denial:
            return self.denial.detail
        return "the link stands" if self.stands else "nothing that can be read denies it"


class AdviceJudge:
    """Judges what records of the log advise, as far as what that takes may be read."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._view: View | None = None
        self._advice: dict[tuple[str, ...], str] = {}

    def judged(self, records: Sequence[Record], *, again: bool = True) -> list[Record]:
        """The records, each with the advice that holds now in place of the one that it was written with. Not `again`:
        what was not judged before is not judged now."""
        for record in reversed(records):
            if again and record.get("advice") and _key(record) not in self._advice:
                self._advice[_key(record)] = self._judge(record)
        return [
            {**record, "advice": self._advice.get(_key(record)) or _of_its_time(record, ONLY_NEWEST.format(JUDGED))}
            if record.get("advice")
            else record
            for record in records
        ]

    def present(self, record: Record) -> Present:
        """What is so now of the link that a record is about. Raises LinkPeerError where that cannot be told."""
        env = self._env
        for name, value in (("region", env.settings.region), ("deployment", env.policy.deployment)):
            if record.get(name, value) != value:
                raise LinkPeerError(f"it is of {name} {record[name]}")
        self._view = self._view or view_of(suppose(env, "audit")[0])
        home, now = env.policy.home, env.now
        asker = parse_party(record["instance"], home) if record.get("instance") else None
        ends = ends_of(record)
        view, parties = self._view, [party for party in (*ends, asker) if party and party.id]
        view.around(parties)
        wish = _wish(view, record, asker, now) if asker else None
        if asker and wish is None:
            _require_read(view, [asker])
            return Present(wished=False)
        link = wish.link if wish else Link(*ends, _ports(record))
        denial = self._denial(view, link, wish)
        view.deciding([link.pair])
        _require_read(view, parties)
        if denial and denial.undecided:
            raise LinkPeerError(denial.detail)
        links = standing(view.scene.snapshot, view.policy, env.settings.region, now)
        pair = link.whole.pair
        standing_links = [linked for linked in links if Link(linked.source, linked.target, link.ports).pair == pair]
        stands = any(linked.mutual or (link.ports and {*link.ports} <= {*linked.ports}) for linked in standing_links)
        denial = about(denial, record.get("action", ""), link.whole, env.settings.region) if denial else None
        return Present(denial, stands)

    def _denial(self, view: View, link: Link, wish: DesiredLink | None) -> Denial | None:
        if wish and wish.denied:
            view.answer(uncounted(view.scene.snapshot, wish.denied))
            return no_group_accepted(view.scene.snapshot, wish)
        context = Context(view.policy, self._env.settings.region, self._env.now)
        denial = wish_denial(view.scene.snapshot, view.policy, wish) if wish else None
        return denial or verdict_if_asked(view, context, link).denial

    def _judge(self, record: Record) -> str:
        command = parts(record["advice"])[1]
        try:
            if len(self._advice) >= JUDGED:
                raise LinkPeerError(ONLY_NEWEST.format(JUDGED))
            if command.startswith("LINK_PEER_REGION="):
                raise LinkPeerError("it is about another region")
            present = self.present(record)
        except LinkPeerError as error:
            return _of_its_time(record, str(error))
        link = f"{record.get('from', '')} to {record.get('to', '')} {record.get('ports', '')}".strip()
        was = f"{link} was: {': '.join(filter(None, [record.get('reason'), record.get('detail')]))}"
        if command.startswith("link-peer request unlink"):
            return record["advice"] if present.stands else f"{was}; now: no rule of it stands"
        if not present.wished:
            return f"{was}; now: no tag of {record['instance']} asks for it"
        if present.denial:
            advice = present.denial.advice
            holds = parts(advice)[1] == command if command else advice == record["advice"]
            return advice if holds else f"{was}; now: " + "; ".join(filter(None, [present.fact, advice]))
        ends = _UNTIL.search(command)
        again = command.startswith("link-peer request link") and not present.stands
        if again and not (ends and parse_instant(ends[1]) <= self._env.now):
            return record["advice"]
        return f"{was}; now: {present.fact}"


def _of_its_time(record: Record, problem: str) -> str:
    """The advice as it was recorded, without a command to type, and why it was not judged again."""
    words, command = parts(record["advice"])
    text = " ".join(filter(None, [words, f"({command})" if command else ""]))
    return f"of {when(record.get('time', ''))}, and not judged again, since {problem}: {text}"


def _key(record: Record) -> tuple[str, ...]:
    """What records have alike that say the same about one link."""
    return tuple(record.get(name, "") for name in _LINK)


def _ports(record: Record) -> tuple[Port, ...]:
    text = record.get("ports", "")
    if not text:
        raise LinkPeerError("it is about no link")
    return () if text == "mutual" else tuple(parse_ports(text))


def _wish(view: View, record: Record, asker: Party, now: float) -> DesiredLink | None:
    """What the tags of the instance ask for now of what the record is about."""
    instance = view.scene.snapshot.instances.get(asker)
    wishes = links_from_tags(view.scene.snapshot, instance, now, view.policy) if instance else []
    unreadable = [wish for wish in wishes if wish.raw and wish.raw == record.get("to")]
    if unreadable or not record.get("ports"):
        return next(iter(unreadable), None)
    target, ports = ends_of(record)[1], _ports(record)
    return next((wish for wish in wishes if (wish.link.target, wish.link.ports) == (target, ports)), None)


def _require_read(view: View, parties: Iterable[Party]) -> None:
    for party in parties:
        if not view.scene.snapshot.readable(party.account):
            raise LinkPeerError(f"account {party.account} could not be read")
