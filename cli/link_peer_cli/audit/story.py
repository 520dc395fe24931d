"""What the audit log tells of one link: its whole life, and who asked for it.

The id of a request is its sender's choice, and another sender may have the same. So a request is known by its queue,
its id and its link.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party
from link_peer.domain.tags import iso
from link_peer.runtime.ports import Record
from link_peer.views.standing import Standing

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import AuditReader, condition, once
from link_peer_cli.audit.trail_records import rules_in
from link_peer_cli.ui.remedies import message


class Story(msgspec.Struct, frozen=True):
    """The records of one request, or of a link, oldest first. `title` names it."""

    title: str
    records: list[Record]


def stories(log: AuditReader, name: str, since: float) -> list[Story]:
    """The story of a link, by its id; or of each request with an id: its own records, and all others about the link
    that it names, such as later removals, but those of its namesakes through other queues. `since` is in epoch seconds.
    Raises LinkPeerError if the log cannot be read, or has nothing of it."""
    matches = log.read(f"{condition({'request_id': name})} or {condition({'link': name})}", since)
    # the id of a link is a hash of it; a request may have been given the same
    matches = [record for record in matches if record.get("link") == name] or matches
    if not matches:
        raise LinkPeerError(f"the audit log has no record of {name} since {iso(since)}")
    links = sorted({record["link"] for record in matches if record.get("link")})
    matches += log.read_any("*", "link", links, since)
    records = sorted(once(matches), key=lambda record: record.get("time", ""))
    request_records = [record for record in records if record.get("request_id") == name]
    keys = dict.fromkeys((record.get("link", ""), record.get("queue", "")) for record in request_records)
    # a command's own records, such as those of an adoption, have no queue, and belong to the request that it posts
    proven = {link for link, queue in keys if queue}
    keys = {key: None for key in keys if key[1] or key[0] not in proven}
    if name in links or len(keys) < 2:
        return [Story(name, records)]
    by_link = grouped((record.get("link", ""), record) for record in records)
    return [_story_of(by_link[link], name, queue) for link, queue in keys]


def _story_of(records: Iterable[Record], name: str, queue: str) -> Story:
    """The story of one of several requests with the same id, from all records about its link."""
    story_records = [
        record for record in records if record.get("request_id") != name or record.get("queue", "") in ("", queue)
    ]
    ends = " → ".join(map(str, ends_of(story_records[0])))
    through = f" through {queue}" if queue else ""
    return Story(f"{name}{through}: {ends}, {story_records[0].get('ports', '')}", story_records)


class RequestStories:
    """What the requests said of themselves. `problem` says why the log could not be read; `consented` who wrote each
    entry that consents."""

    def __init__(self) -> None:
        self._applied: dict[str, list[tuple[Record, set[str]]]] = {}  # with the ids of the rules
        self.consented: dict[str, str] = {}
        self.problem = ""

    def read(self, env: Environment, requests: Iterable[str], since: float) -> None:
        """Reads the applied outcomes of these ids, from `since` (epoch seconds) on."""
        query = condition({"record": "outcome", "outcome": "applied"})
        try:
            log = AuditReader(env.settings, env.clock, env.keys)
            outcomes = log.read_any(query, "request_id", set(requests), since)
            self._applied = grouped((record["request_id"], (record, _rules(record))) for record in outcomes)
        except LinkPeerError as error:
            self.problem = f"who asked is not known: {message(error)}"

    def requester(self, link: Standing, request: str) -> str:
        """Who asked, as far as the log tells: the name that the request gives, which nobody verified, and the queue
        that it came through, which the platform vouches for; each of them where it cannot be told which request it
        was."""
        return ", or ".join(filter(None, map(_sender, self._of(link, request))))

    def reasons(self, link: Standing, request: str) -> list[str]:
        """The reason that the request gives."""
        return list(filter(None, (record.get("claimed_reason", "") for record in self._of(link, request))))

    def _of(self, link: Standing, request: str) -> list[Record]:
        """The first record of each queue whose request may be the one that put its claim on the link's rules: those
        that changed one of these very rules, else those that found them, else those about the same parties and
        ports."""
        candidates, rules = self._applied.get(request, []), {rule.id for rule in link.rules}
        rule_records = [record for record, ids in candidates if ids & rules]
        change_records = [record for record in rule_records if record.get("api_requests")]
        ends = [(link.source, link.target), (link.target, link.source)][: 2 if link.mutual else 1]
        ports = set(link.ports_text.split("+"))
        about = [
            record
            for record, _ in candidates
            if ends_of(record) in ends and ports <= set(record.get("ports", "").split("+"))
        ]
        return list(
            {record.get("queue", ""): record for record in reversed(change_records or rule_records or about)}.values()
        )[::-1]


def _rules(record: Record) -> set[str]:
    return {rule.id for rule in rules_in(record.get("rules", ""))} - {""}


def ends_of(record: Record) -> tuple[Party, Party]:
    """The two parties that a record names."""
    source, target = (Party(record.get(f"{side}_account", ""), record.get(side, "")) for side in ("from", "to"))
    return source, target


def _sender(record: Record) -> str:
    claimant, queue = record.get("claimed_by", ""), record.get("queue", "")
    through = f"through {queue}" if queue else ""
    return " ".join(filter(None, [claimant, through]))
