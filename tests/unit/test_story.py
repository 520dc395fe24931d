"""The story of a link or a request, and who asked for a link, where ids are shared."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import cast

import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import ALL, Port
from link_peer.runtime.ports import Record
from link_peer.views.standing import Standing
from link_peer_cli.access.environment import Environment
from link_peer_cli.audit import story
from link_peer_cli.audit.log import AuditReader
from link_peer_cli.audit.story import RequestStories, stories
from pytest_mock import MockerFixture

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW
from tests.unit.snapshots import key, ours

LINK, SECOND_LINK = "1" * 16, "2" * 16


def record(number: int, link: str = LINK, request: str = "chg-1", queue: str = "q1", **fields: str) -> Record:
    """One of sg-app → sg-db, in the order of its number."""
    ends = {"from": APP.id, "from_account": HOME, "to": DB.id, "to_account": HOME, "ports": "tcp/1"}
    ids = {"link": link, "request_id": request, "queue": queue, "key": str(number)}
    return {**ends, **ids, "time": f"2026-11-25T00:00:0{number}.000Z", **fields}


REMOVED = record(8, request="", queue="")
OF_NO_LINK = {name: text for name, text in record(7).items() if name != "link"}
NAMESAKE = record(2, SECOND_LINK, queue="q2")


@pytest.mark.parametrize(
    ("name", "records", "keys"),
    [
        ("chg-1", [record(1), REMOVED], ["18"]),
        ("chg-1", [record(1), NAMESAKE], ["1", "2"]),
        ("chg-1", [OF_NO_LINK], ["7"]),
        ("chg-1", [record(1), record(3, queue="q2"), REMOVED], ["18", "38"]),  # of one link, through two queues
        ("chg-1", [record(1, queue=""), record(2)], ["12"]),  # a command's own record, and the request that it posts
        ("chg-1", [record(1, queue=""), NAMESAKE], ["1", "2"]),
        (LINK, [record(1), record(3, queue="q2", request=LINK), REMOVED], ["138"]),
        (LINK, [record(1, request=LINK, queue="q2"), record(2, SECOND_LINK, request=LINK)], ["1"]),  # a link of that id
    ],
)
def test_requests_with_one_id_have_a_story_each(name: str, records: list[Record], keys: list[str]) -> None:
    """By their queues and links, with what became of the link later. What a link's id names is the link."""
    matches = [each for each in records if name in (each.get("link"), each["request_id"])]

    def of_links(_query: str, _field: str, links: list[str], _since: float) -> list[Record]:
        return [each for each in records if each.get("link", "") in links]

    log = cast(AuditReader, SimpleNamespace(read=lambda _query, _since: matches, read_any=of_links))
    read_stories = stories(log, name, NOW)
    assert ["".join(each["key"] for each in read_story.records) for read_story in read_stories] == keys
    assert len({read_story.title for read_story in read_stories}) == len(keys)


def test_what_the_log_does_not_have_has_no_story() -> None:
    log = cast(AuditReader, SimpleNamespace(read=lambda _query, _since: []))
    with pytest.raises(LinkPeerError, match="no record of chg-9"):
        stories(log, "chg-9", NOW)


RULE = ours(key(DB, APP, "tcp/1"))


def applied(sender: str, rule_id: str = RULE.id, *, changed: bool = True, **fields: str) -> Record:
    """A request of this sender through its own queue, which changed a rule or found it."""
    rule = {"account": HOME, "group": DB.id, "source": str(APP), "dest": "", "protocol": "tcp", "ports": "1/1"}
    rules = json.dumps([{**rule, "rule_id": rule_id}])
    asked_by = {"claimed_by": sender, "claimed_reason": f"for {sender}", "rules": rules}
    return {**record(1, queue=f"q-{sender}"), **asked_by, "api_requests": "r" if changed else "", **fields}


BACK = {"from": DB.id, "to": APP.id}


@pytest.mark.parametrize(
    ("outcomes", "senders", "is_mutual"),
    [
        ([applied("ann")], ["ann"], False),
        ([applied("ann"), applied("bob")], ["ann", "bob"], False),
        ([applied("bob", changed=False), applied("ann")], ["ann"], False),  # who changed the rule goes before who found it
        ([applied("bob", changed=False), applied("eve", "sgr-2")], ["bob"], False),
        ([applied("eve", "sgr-2")], ["eve"], False),  # of a former rule of this link
        ([applied("eve", "sgr-2", ports="tcp/1+tcp/2")], ["eve"], False),
        ([applied("eve", "sgr-2", ports="tcp/2")], [], False),
        ([applied("eve", "sgr-2", to=CACHE.id)], [], False),
        ([applied("eve", "sgr-2", **BACK)], [], False),
        ([applied("eve", "sgr-2", **BACK, ports="mutual")], ["eve"], True),
        ([applied("ann"), applied("ann", claimed_by="zoe")], ["ann"], False),  # the first of a queue
    ],
)  # fmt: skip
def test_who_asked_for_a_link_is_whose_request_changed_its_rules(
    mocker: MockerFixture, outcomes: list[Record], senders: list[str], is_mutual: bool
) -> None:
    """Else who found them, else who asked for the same. Each of them where the queues differ."""
    log = SimpleNamespace(read_any=lambda *_query: outcomes)
    mocker.patch.object(story, "AuditReader", return_value=log)
    link = Standing(APP, DB, (ALL if is_mutual else Port("tcp", 1, 1),), (), (RULE,))
    history = RequestStories()
    history.read(cast(Environment, mocker.Mock()), ["chg-1"], NOW)
    assert history.requester(link, "chg-1") == ", or ".join(f"{sender} through q-{sender}" for sender in senders)
    assert history.reasons(link, "chg-1") == [f"for {sender}" for sender in senders]
