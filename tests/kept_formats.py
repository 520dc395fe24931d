"""What link-peer leaves in the cloud, in logs and in people's files, and how this version reads it.

tests/fixtures/releases has both of each release, in one file, as it wrote them; tests/functional/test_kept_formats.py
reads each with every later version, and with LINK_PEER_WRITE_RELEASE=1 writes that of this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from alibabacloud_ecs20140526.models import (
    DescribeSecurityGroupAttributeResponseBodyPermissionsPermission as Permission,
)
from link_peer.alicloud import ecs_shapes
from link_peer.domain import tags as grammar
from link_peer.domain.errors import BadInput
from link_peer.domain.marker import owned
from link_peer.domain.model import Party
from link_peer.domain.request import SweepAccount
from link_peer.domain.tags import tag_keys
from link_peer.inbound import policy_file, requests
from link_peer_cli.audit.at import standing_at

from tests.functional.lab import HOME, PEER, REGION, Lab

LINK = ("from", "from_account", "to", "to_account", "ports", "since", "until", "claims", "asked_by", "rules")
"""What the log says of a link, without the texts for people."""
ROOT = Path(__file__).resolve().parents[1]
RELEASES = ROOT / "tests" / "fixtures" / "releases"
POLICY = f"""\
deployment: prod
accounts:
  "{HOME}": {{name: a@aliyun.com, ranges: [10.0.0.0/8]}}
  "{PEER}": {{name: b@aliyun.com, role: "acs:ram::{PEER}:role/link-peer", external_id: secret, queue: link-peer-requests-b}}
accept_tags: true
allow:
  - {{from: "*@{HOME}", to: "sg-metrics@{PEER}", ports: [tcp/9090, tcp/8000-8010, icmp], until: "2099-12-31T00:00:00Z"}}
deny: {{ports: [tcp/22, udp/53]}}
mutual: deny
never:
  - {{from: "set:test", to: "*@{PEER}", ports: [tcp/3306]}}
sets:
  test: {{account: "{HOME}", tags: {{env: test}}}}
names: {{ledger: "sg-ledger@{PEER}", metrics: "i-metrics@{PEER}"}}
limits: {{removals_per_run: 20, max_ports: 8, max_port_span: 100, max_peers: 10, max_members: 20, max_days: 90, max_days_tags: 30}}
paused: opening
tests:
  - {{from: "sg-app@{HOME}", accept: ["sg-metrics@{PEER}:tcp/9090"], deny: ["sg-ledger@{PEER}:tcp/22"]}}
"""
INSTANCE_TAGS = {
    "link-peer": "sg-db:tcp/3306+udp/53,i-db:icmp sg-all",
    "link-peer.2": f"sg-far@{PEER}:tcp/8000-8010, i-far@{PEER} ledger:tcp/1",
    "link-until": "2027-01-01T08:00:00+08:00",
}
GROUP_TAGS = {
    "link-accept": f"sg-app:tcp/3306 i-app:icmp~20270101T000000Z *@{PEER}:tcp/8000-8010+udp/53",
    "link-accept.9": f"*,sg-far@{PEER} i-far@{PEER}",
    "link-egress": f"sg-db:tcp/3306 i-db:icmp~20270101T000000Z *@{PEER}:tcp/8000-8010+udp/53",
    "link-egress.3": f"*,sg-far@{PEER} i-far@{PEER}",
    "link-refuse": f"sg-test i-test:tcp/22+udp/53 *@{PEER}:icmp",
    "link-refuse.close": f"sg-far@{PEER},i-far@{PEER}",
    "link-refuse.incident": "sg-old~20270101T000000Z",
    "link-lock": "incident 7",
    f"link-managed.prod.{HOME}": "true",
    f"link-managed.prod.{HOME}.instances": "true",
}


def written_by(lab: Lab) -> dict[str, Any]:
    """What this version writes: the rules of links of every form, the records, the messages of people and of the
    functions; and what people write for it: tags and the policy file."""
    request = lab.request(lab.group(), lab.group(account=PEER))
    messages: list[dict[str, Any]] = []

    def deliver(*parties: Any, **fields: Any) -> None:
        messages.append(lab.request(*parties, **fields))
        lab.cross_account(messages[-1])

    app, db = lab.group(), lab.group(account=PEER)
    lab.tag(db, link_accept=f"{app.id}@{HOME}:tcp/3306~20270101T000000Z")
    web = lab.instance(app, tags={"link-peer": f"{db.id}@{PEER}:tcp/3306"})
    lab.auto_link(lab.tag_event(web))
    messages += (posted := lab.queued())
    for message in posted:
        lab.cross_account(message)
    left_group, right = lab.pair()
    until = lab.iso(30 * 86_400)
    deliver(left_group, right, request_id="chg-1042", until=until, reason="CHG 1042", requested_by="ann")
    front, back = lab.instance(left_group), lab.instance(right)
    deliver(front, back, "tcp/8000-8010", "icmp", request_id="chg-1043")
    cards, ledger = lab.group(type="enterprise"), lab.group("*", type="enterprise")
    lab.instance(ledger)
    lab.tag(cards, link_egress=f"{ledger.id}:udp/53+tcp/8000-8010")
    card = lab.instance(cards, tags={"link-peer": f"{ledger.id}:udp/53"})
    lab.auto_link(lab.tag_event(card))
    deliver(cards, ledger, "tcp/8000-8010", request_id="chg-1048")
    deliver(app, ledger, "tcp/1", request_id="chg-1044")
    refusing = lab.group("*")
    lab.tag(refusing, link_refuse=f"{app.id}:tcp/1")
    deliver(app, refusing, "tcp/1", request_id="chg-1049")
    deliver(db, app, "tcp/2", request_id="chg-1045")
    lab.sweep()
    locked = lab.group(f"{app.id}:tcp/1")
    deliver(app, locked, "tcp/1", request_id="chg-1047")
    lab.tag(locked, link_lock="incident 7")
    lab.auto_link(lab.group_event(locked))
    deliver(front, back, "icmp", action="unlink", request_id="chg-1043")
    messages.append({**request, "action": "sync", "request_id": "chg-1046"})
    messages.append(lab.look(web, lab.iso(3600)))
    posted_at = lab.cloud.clock.now()
    sweep = json.loads(requests.encode(SweepAccount(REGION, PEER, posted_at, None)))
    groups = (app, db, left_group, right, cards, ledger)
    return {
        "rules": [
            {"account": group.account, "group": group.id, "rule": rule}
            for group in groups
            for direction in ("ingress", "egress")
            for rule in lab.raw_rules(group, direction)
        ],
        "tags": {"instance": INSTANCE_TAGS, "group": GROUP_TAGS},
        "policy": POLICY,
        "messages": [*messages, sweep],
        "records": lab.records("intent", "outcome", "summary", "observed", "timer"),
        "read_at": posted_at,
    }


def readings(written: Mapping[str, Any]) -> dict[str, Any]:
    """How this version reads it, as JSON."""
    keys = tag_keys("link", "prod", HOME)
    instance, group = written["tags"]["instance"], written["tags"]["group"]
    policy = msgspec.structs.replace(policy_file.from_bytes(written["policy"].encode()), digest="")
    moment = written["read_at"]
    return _plain(
        {
            "markers": [_marker(entry) for entry in written["rules"]],
            "tags": {
                "peers": [
                    (text, "unreadable" if isinstance(peer, BadInput) else peer)
                    for text, peer in grammar.peers(instance, HOME, keys)
                ],
                "until": grammar.link_until(instance, keys),
                "accepts": grammar.accepts(group, HOME, keys),
                "egress_accepts": grammar.egress_accepts(group, HOME, keys),
                "bad_accepts": grammar.bad_accepts(group, HOME, keys),
                "refusals": grammar.refusals(group, HOME, keys),
                "lock": keys.lock_on(group),
                "managed": [key for key in group if key in keys.of_group(instances=True)],
            },
            "policy": policy,
            "messages": [_message(message, moment) for message in written["messages"]],
            "links": [
                {name: link[name] for name in LINK} for link, _ in map(_plain, standing_at(written["records"], moment))
            ],
        }
    )


def _marker(entry: Mapping[str, Any]) -> object:
    """The marker of a rule, if it is ours: its hash is that of the rule."""
    rule = ecs_shapes.rule(Party(entry["account"], entry["group"]), Permission().from_map(entry["rule"]))
    return owned(rule, "prod", REGION, HOME)


def _message(message: Mapping[str, Any], moment: float) -> object:
    body = json.dumps(message)
    if message["action"] == "sweep":
        return requests.decode_sweep(body, region=REGION, accounts=(PEER,))
    return requests.decode(body, region=REGION, now=moment)


def _plain(value: object) -> Any:
    """As a file holds it."""
    return json.loads(msgspec.json.encode(value, enc_hook=str))


def is_kept(before: object, now: object) -> bool:
    """Whether a later reading says all that an earlier one says. It may say more: of new fields, their defaults."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(name in now and is_kept(value, now[name]) for name, value in before.items())
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(is_kept, before, now))
    return before == now
