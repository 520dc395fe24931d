"""Maps of 5, 40 and 300 groups, as `link-peer map --format json` writes them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

MADE = "2026-11-26T00:00:00Z"
ACCOUNTS = {
    "1000000000000001": "platform@example.com",
    "1000000000000002": "payments@example.com",
    "1000000000000003": "data@example.com",
    "1000000000000004": "shops@example.com",
    "1000000000000005": "lab@example.com",
}
SERVICES = ("orders", "billing", "ledger", "search", "users", "mail", "stock", "prices", "reports", "gateway")
TIERS = ("web", "app", "db", "cache", "queue", "batch")
PORTS = ("tcp/443", "tcp/3306", "tcp/6379", "tcp/8080-8089", "icmp+tcp/5432", "udp/53")
STATES = {3: "blocked", 5: "partly", 7: "half-open", 9: "closing", 10: "unknown"}
"""The states of the links that are not open, by their number modulo 11."""
Party = tuple[str, str, str]
"""Id, account and name."""


def link(source: Party, target: Party, ports: str = "tcp/443", **changed: Any) -> dict[str, Any]:
    """A link as `link-peer links --json` prints it."""
    ends = {"from": source[0], "from_account": source[1], "from_name": source[2]}
    ends |= {"to": target[0], "to_account": target[1], "to_name": target[2]}
    return {
        **ends,
        "ports": ports,
        "state": "open",
        "state_detail": "",
        "since": "2026-11-01T08:00:00Z",
        "until": "",
        "claims": ["tag"],
        "deployment": "",
        "asked_by": [],
        "reasons": [],
        "consent": [f"{target[0]}@{target[1]} link-accept={source[0]}"],
        "consented_by": ["acs:ram::1000000000000001:user/ops (proven)"],
        "instances": 2,
        "written": "by reference",
        "written_detail": "",
        "by_address": [],
        "rules": [{"account": target[1], "group": target[0], "rule_id": "sgr-bp10000000000000001"}],
        **changed,
    }


def rule(source: Party, target: Party, ports: str = "tcp/22", **changed: Any) -> dict[str, Any]:
    """A rule of a person, as the file of the map has it."""
    ends = dict(
        zip(("from", "from_account", "from_name", "to", "to_account", "to_name"), (*source, *target), strict=True)
    )
    return {
        **ends,
        "made_by": "person",
        "address": "" if source[1] else source[0],
        "ports": ports,
        "state": "open",
        "state_detail": "",
        "rule_id": "sgr-bp1people000000000001",
        "group": target[0],
        "instances": None,
        "since": "2026-10-01T08:00:00Z",
        "description": "",
        **changed,
    }


def document(
    links: Sequence[dict[str, Any]],
    problems: Sequence[str] = (),
    rules: Sequence[dict[str, Any]] = (),
    denied: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """A map of these links, which are rules of link-peer, of other rules, and of wishes that are denied."""
    snapshot = {"made": MADE, "region": "cn-hangzhou", "accounts": ACCOUNTS}
    own_rules = [
        {
            **{key: value for key, value in link.items() if key in rule(("", "", ""), ("", "", ""))},
            "made_by": "link-peer",
        }
        for link in links
    ]
    return {
        **snapshot,
        "links": list(links),
        "rules": [*own_rules, *rules],
        "denied": list(denied),
        "problems": list(problems),
        "left_out": ["packets between members of one group", "requests that were denied"],
    }


def groups(number: int, accounts: int) -> list[Party]:
    """This many groups, in turn in each of the accounts, with different names."""
    uids = list(ACCOUNTS)[:accounts]
    return [
        (
            f"sg-bp1{n:017}",
            uids[n % accounts],
            f"{SERVICES[n // 6 % 10]}-{TIERS[n % 6]}" + (f"-{n // 60}" if n >= 60 else ""),
        )
        for n in range(number)
    ]


def five() -> dict[str, Any]:
    """Five groups in two accounts: a link of each kind."""
    home, peer = list(ACCOUNTS)[:2]
    web, app = ("sg-bp1web0000000000001", home, "web"), ("sg-bp1app0000000000002", home, "orders")
    db, cache = ("sg-bp1db00000000000003", home, "orders-db"), ("sg-bp1cache00000000004", home, "cache")
    ledger = ("sg-bp1ledger0000000005", peer, "ledger")
    request = {"claims": ["chg-1042"], "asked_by": ["chg-1042: team-orders through link-peer-requests"]}
    drop = "drop of tcp/3306 by sgr-bp1drop at priority 1"
    return document(
        [
            link(web, app),
            link(app, db, "tcp/3306", state="blocked", state_detail=drop),
            link(app, ledger, "mutual", **request, reasons=["audits"], until="2026-11-29T00:00:00Z"),
            link(app, cache, "tcp/6379+tcp/6380+tcp/6381", state="unknown"),
            link(ledger, db, "tcp/3306", until="2027-03-01T00:00:00Z", written="by address"),
        ]
    )


def full_map() -> dict[str, Any]:
    """The five groups, with three rules of people and a denied wish."""
    links, home = five()["links"], next(iter(ACCOUNTS))
    db, cache = ("sg-bp1db00000000000003", home, "orders-db"), ("sg-bp1cache00000000004", home, "cache")
    office = ("10.20.0.0/16", "", "")
    wish = {
        **dict(zip(("from", "from_account", "from_name", "to", "to_account", "to_name"), (*cache, *db), strict=True)),
        "ports": "tcp/3306",
        "reason": "no-consent",
        "detail": "orders-db has not accepted cache on tcp/3306",
        "advice": "link-peer accept sg-bp1db00000000000003 sg-bp1cache00000000004:tcp/3306",
        "asked_by": ["i-bp1cache00000000000001"],
    }
    rules = [
        rule(office, db, description="office"),
        rule(office, cache, state="blocked", state_detail="a drop of a person"),
        rule(cache, db, "all"),
    ]
    return document(links, rules=rules, denied=[wish])


def forty() -> dict[str, Any]:
    """Forty groups in three accounts, with 45 links."""
    return document(_links(groups(40, 3), 45))


def three_hundred() -> dict[str, Any]:
    """300 groups in five accounts, with 420 links."""
    return document(_links(groups(300, 5), 420))


def _links(parties: Sequence[Party], number: int) -> list[dict[str, Any]]:
    """Every group has a link, most of them from a lower to a higher number, as from a web tier down."""
    chance = random.Random(7)
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < number:
        source = len(pairs) % len(parties)
        target = (source + chance.choice((1, 1, 2, 3, 6, 11))) % len(parties)
        pairs.add((source, target))
        if chance.random() < 0.3:
            pairs.add((chance.randrange(len(parties) - 1), len(parties) - 1))
    links = []
    for n, (source, target) in enumerate(sorted(pair for pair in pairs if pair[0] != pair[1])):
        changed: dict[str, Any] = {"state": STATES.get(n % 11, "open")}
        if n % 13 == 5 and changed["state"] != "closing":
            changed["until"] = "2026-11-28T12:00:00Z"
        ports = "mutual" if n % 17 == 8 else PORTS[n % len(PORTS)]
        links.append(link(parties[source], parties[target], ports, **changed))
    return links
