"""Advice is a command that can be pasted: run as it is printed, it resolves the denial."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from link_peer.domain.denials import parts
from link_peer.domain.tags import TAGS

from tests.functional.command import Cli, Owners
from tests.functional.lab import HOME, PEER, Lab

OTHERS = re.compile(rf"\blink-({'|'.join(tag.name for tag in TAGS if tag.name != 'peer')})\b|\blink-peer[.=]")
"""A tag key of the default prefix."""
Again = Callable[[], object]
"""Delivers what was denied once more; for a request that the command posts, what the queues hold."""


@pytest.fixture(name="owners")
def _owners(lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Owners:
    return Owners(lab, Cli(capsys), monkeypatch)


def posted(lab: Lab) -> Again:
    """Delivers what was posted, each message through its queue."""

    def deliver() -> None:
        own_queue = own_name(lab)
        for queue in [lab.cloud.world.queue, *([own_queue] if own_queue in lab.policy_path.read_text("utf-8") else [])]:
            if messages := lab.queued(queue):
                lab.cross_account(*messages, queue=queue)

    return deliver


def tag_without_consent(lab: Lab) -> Again:
    instance = lab.instance(lab.group(), tags={"link-peer": f"{lab.group().id}:tcp/3306+udp/53"})
    event = lab.event(instance)
    lab.auto_link(event)
    return lambda: lab.auto_link(event)


def mutual_request_without_consent(lab: Lab) -> Again:
    request = lab.request(lab.group(), lab.group("sg-other", account=PEER))
    lab.cross_account(request)
    return lambda: lab.cross_account(request)


def locked(lab: Lab, value: str) -> Again:
    request = lab.request(lab.group(), lab.group("*", tags={"link-lock": value}), "tcp/1")
    lab.cross_account(request)
    return lambda: lab.cross_account(request)


def refused(lab: Lab, value: str = "{app}", key: str = "link_refuse") -> Again:
    app = lab.group()
    request = lab.request(app, lab.group("*"), "tcp/1")
    lab.tag(lab.cloud.ecs.account(HOME).groups[request["to"]["party"]], **{key: value.format(app=app.id)})
    lab.cross_account(request)
    return lambda: lab.cross_account(request)


def request_past_its_until(lab: Lab) -> Again:
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1", until=lab.iso(-1)))
    return posted(lab)


def expired_request(lab: Lab) -> Again:
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1", "udp/2-9", expires_at=lab.iso(-301)))
    return posted(lab)


def link_that_has_ended(lab: Lab) -> Again:
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1", until=lab.iso(60)))
    lab.cloud.clock.advance(61)
    lab.sweep()
    return posted(lab)


def tag(lab: Lab, **tags: str) -> Again:
    """A tag asks for a link to a group that accepts everybody."""
    instance = lab.started(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1", **tags})
    return lambda: lab.auto_link(lab.tag_event(instance))


def id_of_another_link(lab: Lab) -> Again:
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.cross_account(lab.request(app, db, "tcp/2", until=lab.iso(3600)))
    return posted(lab)


def half_of_a_mutual_link(lab: Lab) -> Again:
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.revoke(b)
    lab.cloud.clock.advance(1801)
    lab.sweep()
    return posted(lab)


def request_without_an_end(lab: Lab) -> Again:
    lab.policy(limits={"max_days": 7})
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1"))
    return posted(lab)


def tag_without_an_end(lab: Lab) -> Again:
    lab.policy(limits={"max_days_tags": 7})
    return tag(lab)


def link_through_the_shared_queue(lab: Lab) -> Again:
    own_queue(lab)
    lab.cross_account(lab.request(lab.group(account=PEER), lab.group(f"*@{PEER}"), "tcp/1"))
    return posted(lab)


def link_through_the_queue_of_another(lab: Lab) -> Again:
    own_queue(lab)
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1"), queue=own_name(lab))
    return posted(lab)


def own_queue(lab: Lab) -> None:
    lab.policy_account(PEER, queue=own_name(lab))
    lab.cloud.mns.create_queue(HOME, own_name(lab))


def own_name(lab: Lab) -> str:
    return f"{lab.cloud.world.queue}-b"


CASES: dict[str, tuple[str, Callable[[Lab], Again]]] = {
    "tag without consent": ("no-consent", tag_without_consent),
    "mutual request without consent": ("no-consent", mutual_request_without_consent),
    "closed by a command": ("locked", lambda lab: locked(lab, "link-peer close by arn 2026-11-26T00:00:00Z")),
    "locked by hand": ("locked", lambda lab: locked(lab, "keep out")),
    "refused by hand": ("refused", refused),
    "refused beside others": ("refused", lambda lab: refused(lab, "{app} sg-other", "link_refuse.$(id)")),
    "a refusal that cannot be read": ("refused", lambda lab: refused(lab, "")),
    "request past its until": ("expired", request_past_its_until),
    "expired request": ("expired", expired_request),
    "link that has ended": ("expired", link_that_has_ended),
    "tag past its until": ("expired", lambda lab: tag(lab, **{"link-until": "2020-01-01T00:00:00Z"})),
    "unreadable until": ("bad-tag", lambda lab: tag(lab, **{"link-until": "tomorrow"})),
    "id of another link": ("id-in-use", id_of_another_link),
    "half of a mutual link": ("half-open", half_of_a_mutual_link),
    "request without an end": ("not-allowed", request_without_an_end),
    "tag without an end": ("not-allowed", tag_without_an_end),
    "link through the shared queue": ("not-allowed", link_through_the_shared_queue),
    "link through the queue of another": ("not-allowed", link_through_the_queue_of_another),
}
"""Situations that a command resolves, with the reason of their denial."""


@pytest.mark.knobs(request_tags=True)  # else `close` and `reopen` are refused
@pytest.mark.parametrize("prefix", ["link", "acme"])
@pytest.mark.parametrize("case", CASES)
def test_following_the_advice_resolves_the_denial(lab: Lab, owners: Owners, case: str, prefix: str) -> None:
    """The command is pasted as the record has it; then the link is applied. No record names a tag of another prefix."""
    reason, deny = CASES[case]
    with lab.deployment(prefix) if prefix == "acme" else nullcontext():
        again = deny(lab)
        record = lab.outcome()
        assert (record["outcome"] in ("denied", "removed"), record["reason"]) == (True, reason)
        _, command = parts(record["advice"])
        before = len(lab.records())
        assert owners.paste(command) == [0] * len(command.split("; ")), owners.cli.err
        again()
        assert [record["outcome"] for record in lab.records()[before:]] == ["applied"]
        texts = [text for record in lab.records("intent", "attempt", "outcome") for text in record.values()]
    assert prefix == "link" or not [text for text in texts if OTHERS.search(text)]


def test_members_of_an_isolated_group_may_be_let_through(lab: Lab, owners: Owners) -> None:
    """By the group's own policy; an advanced group has none."""
    group = lab.group(inner_access="Drop")
    lab.instance(group)
    instance = lab.started(group, tags={"link-peer": f"{group.id}:tcp/1"})
    assert lab.outcome()["reason"] == "isolated-group"
    assert owners.paste(parts(lab.outcome()["advice"])[1]) == [0]
    lab.auto_link(lab.event(instance))
    assert (lab.outcome()["outcome"], lab.outcome()["reason"]) == ("unchanged", "same-group")
    advanced = lab.group(type="enterprise")
    lab.auto_link(lab.event(lab.instance(advanced, tags={"link-peer": f"{advanced.id}:tcp/1"})))
    assert (lab.outcome()["reason"], parts(lab.outcome()["advice"])[1]) == ("isolated-group", "")


def test_a_request_for_another_region_is_posted_there(lab: Lab, owners: Owners) -> None:
    """The advice names what connects VPCs of two regions, too."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1", region="cn-beijing"))
    words, command = parts(lab.outcome()["advice"])
    for way in ("CEN", "VPN Gateway", "Express Connect"):
        assert way in words
    assert owners.paste(command) == [0]
    (message,) = lab.queued()
    assert (message["region"], message["from"]["party"], message["to"]["party"]) == ("cn-beijing", app.id, db.id)


def for_unknown(lab: Lab, party: str, account: str = HOME) -> None:
    """A request between an instance, or its group, and a party that there is not."""
    source = lab.instance(lab.group()) if party.startswith("i-") else lab.group()
    lab.cross_account(lab.request(source, source, "tcp/1", to={"account": account, "party": party}))


def account_that_cannot_be_entered(lab: Lab) -> None:
    lab.policy_account(PEER, role=f"acs:ram::{PEER}:role/none")
    lab.cross_account(lab.request(lab.group(), lab.group(account=PEER), "tcp/1"))


def full_group(lab: Lab) -> None:
    db = lab.group("*")
    for _ in range(21):
        lab.cross_account(lab.request(lab.group(), db, "tcp/1"))


LOOKS: dict[str, tuple[Callable[[Lab], object], int]] = {
    "peer-not-found": (lambda lab: for_unknown(lab, "sg-bp1none0000000000a"), 0),
    "instance-gone": (lambda lab: for_unknown(lab, "i-bp1none0000000000a"), 0),
    "unknown-account": (lambda lab: for_unknown(lab, "sg-bp1none0000000000a", "1000000000000009"), 0),
    "bad-request": (lambda lab: lab.cross_account("{}"), 0),
    "no-access": (account_that_cannot_be_entered, 1),  # doctor finds the same
    "quota": (full_group, 0),
}
"""Situations that a person must resolve: the command shows what there is. With its exit code."""


@pytest.mark.knobs(strict_ids=False)  # else the command says that there is no such group
@pytest.mark.parametrize("reason", LOOKS)
def test_advice_shows_where_to_look(lab: Lab, owners: Owners, reason: str) -> None:
    """Where no command resolves the denial, one that shows more can be pasted."""
    deny, code = LOOKS[reason]
    deny(lab)
    assert lab.outcome()["reason"] == reason
    words, command = parts(lab.outcome()["advice"])
    assert words
    assert owners.paste(command) == [code]


@pytest.mark.parametrize("kind", ["instance", "group"])
def test_the_classic_network_is_said_to_be_retired(lab: Lab, kind: str) -> None:
    """ClassicLink, which the manual procedure used, is too."""
    other_group = lab.group("*")
    classic = lab.cloud.ecs.create_group(HOME, "", tags={"link-accept": "*"})
    if kind == "group":
        lab.cross_account(lab.request(classic, other_group, "tcp/1"))
    else:
        lab.auto_link(lab.event(lab.instance(classic, classic=True, tags={"link-peer": f"{other_group.id}:tcp/1"})))
    assert lab.outcome()["reason"] == "classic-network"
    assert re.search(r"VPC.*retired.*ClassicLink", lab.outcome()["advice"])


@pytest.mark.parametrize("peer", ["rm-bp1db", "r-bp1cache", "lb-bp1front"])
def test_a_peer_of_another_product_is_left_to_its_owner(lab: Lab, peer: str) -> None:
    """With the instance's own address, and without a command: no record would cover what it opened."""
    instance = lab.started(lab.group(), tags={"link-peer": peer})
    words, command = parts(lab.outcome()["advice"])
    assert f"its owner admits {instance.private_ip} by " in words
    assert command == ""
