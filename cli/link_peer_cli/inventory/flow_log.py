"""VPC flow logs as an account keeps them in SLS: what each network interface let in and sent, hour by hour, and who had
an address.

A line is one flow of one interface in a window of up to ten minutes, of IPv4 only. An interface without traffic has
lines, too, with `NODATA`; `SKIPDATA` says that lines are missing. `start` is when the first packet of the window came,
`tcp-flags` are those of all of its packets [doc "VPC flow log fields"]. Security groups are stateful, so what answers a
connection is told apart by its ports, and by its flags where the log has them.

| kind     | a line of an interface                                            | port of                        |
|----------|-------------------------------------------------------------------|--------------------------------|
| `in`     | let in, from who may have opened a connection                     | the interface                  |
| `back`   | let in, from a service's port to one that connections come from   | the other end                  |
| `answer` | sent from a port of its own, or of a protocol without ports       | the interface                  |
| `out`    | sent from a port that connections come from                       | the other end                  |

A port that connections come from is one number, that of no port, unless a packet with SYN alone opened it.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Port
from link_peer.planning.effect import EPHEMERAL

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import read_error, sdk

DAY = 86_400
HOUR = 3_600
QUERY_SECONDS = 60  # for one answer: a statement over the lines of a month takes longer than a record to write
LIMIT = 100_000
"""Rows of one answer: with as many, parts are asked for; where a part has as many, nothing is known."""
WINDOW = 600  # seconds, the longest [doc CreateFlowLog: AggregationInterval]
UDP, ICMP, FURTHER = 100_000, 200_000, 400_000
"""The numbers of ports, as in `views.spans`; of other protocols, FURTHER and the protocol's."""
HOURS = 48
"""Hours of one column: each is a bit of a number that a double holds exactly."""
OPTIONAL = ("tcp-flags", "traffic_path")
"""Fields that a log may lack, and its index."""
ENDINGS = string.digits + string.ascii_lowercase
"""The last characters of ids of interfaces, by which a query is divided whose answer would be too long."""

_SYN, _SYN_ACK = "(flags % 4 >= 2 and flags % 32 < 16)", "(flags % 4 >= 2 and flags % 32 >= 16)"
_KIND = f"""case when direction = 'in' then
    case when src < {EPHEMERAL[0]} and dst >= {EPHEMERAL[0]} and not {_SYN} then 'back' else 'in' end
  when protocol in (6, 17) and ({_SYN} or (src >= {EPHEMERAL[0]} and (dst < {EPHEMERAL[0]} or not {_SYN_ACK}))) then 'out'
  else 'answer' end"""
_PORT = f"""case protocol when 6 then 0 when 17 then {UDP} when 1 then {ICMP} else {FURTHER} + protocol end
  + case when protocol not in (6, 17) then 0
    when kind in ('in', 'out') then case when dst < {EPHEMERAL[0]} or {_SYN} then dst else 0 end
    when src < {EPHEMERAL[0]} or {_SYN_ACK} then src else 0 end"""
_LINES = """select direction, "eni-id" as eni, case direction when 'in' then dstaddr else srcaddr end as own,
  case direction when 'in' then srcaddr else dstaddr end as peer, cast(protocol as bigint) as protocol,
  cast(srcport as bigint) as src, cast(dstport as bigint) as dst, {flags} as flags, cast("start" as bigint) as seen, __time__ as last
  from log where action = 'ACCEPT'"""
_NAMES = """select 'name' as kind, "eni-id" as eni, case direction when 'in' then dstaddr else srcaddr end as own,
  "vm-id" || '/' || "vpc-id" as peer, 0 as port, {instant} / 3600 as hour, 0 as last, 0 as proof from log where action = 'ACCEPT'"""
_STATES = """select case "log-status" when 'SKIPDATA' then 'skip' else 'day' end as kind, "eni-id" as eni, '' as own, '' as peer,
  0 as port, __time__ / 3600 as hour, 0 as last, 0 as proof from log"""
_PATHS = """select 'path' as kind, '' as eni, '' as own, "traffic_path" as peer, 0 as port, {first} as hour, 0 as last, 0 as proof
  from log where "traffic_path" not in ('-', '', 'all')"""


class FlowRow(msgspec.Struct, frozen=True):
    """Packets between an interface and a peer, on a port."""

    kind: str
    interface: str
    address: str  # of the interface
    peer: str
    port: int  # its number
    hours: int  # a bit for each hour of the period, from the first
    lines: int
    last: int  # epoch seconds, exact to a window
    proof: bool  # a packet with SYN and ACK was among them, or the log cannot say so


class Flows(msgspec.Struct, frozen=True):
    """What the flow log of one account tells of a period."""

    rows: Mapping[str, Sequence[FlowRow]] = {}  # flows, by kind
    # by VPC and address: the instances and interfaces that had it, with the bits of their hours
    holders: Mapping[tuple[str, str], Mapping[tuple[str, str], int]] = {}
    days: Mapping[str, int] = {}  # by interface: the hours of which it has a line
    skipped: Mapping[str, int] = {}  # by interface: the hours of which lines are missing
    problem: str = ""  # why nothing is known
    partial: str = ""  # why not everything is known


def statement(since: int, until: int, fields: Sequence[str] = OPTIONAL, part: tuple[str, str] = ("", "")) -> str:
    """The query for all of a period, with those of the optional fields that the log has; of a part, for the interfaces
    whose ids end with a character from the first on, and before the second, if there is one."""
    first = since // HOUR
    flags = 'coalesce(cast("tcp-flags" as bigint), -1)' if "tcp-flags" in fields else "-1"
    shaped = f"select {_KIND} as kind, * from ({_LINES.format(flags=flags)})"  # noqa: S608
    proof = f"case when protocol <> 6 or flags = -1 or {_SYN_ACK} then 1 else 0 end"
    flows = f"select kind, eni, own, peer, {_PORT} as port, seen / 3600 as hour, last, {proof} as proof from ({shaped})"  # noqa: S608
    # a packet's hour is that of `start` in one log; in another, of some second from ten minutes before `start` until
    # `end`
    begin, end = 'cast("start" as bigint)', 'cast("end" as bigint)'
    names = [_NAMES.format(instant=instant) for instant in (f"({begin} - {WINDOW})", begin, end)]
    paths = [_PATHS.format(first=first)] if "traffic_path" in fields else []
    every_line = " union all ".join([flows, *names, _STATES, *paths])
    ending = "substr(eni, length(eni), 1)"
    bounds = [f"{ending} >= '{part[0]}'"] * bool(part[0]) + [f"{ending} < '{part[1]}'"] * bool(part[1])
    chosen = f"where kind = 'path' or ({' and '.join(bounds)})" if bounds else ""
    bits = " ".join(f"when {hour} then {1 << hour}" for hour in range(HOURS))
    hourly = (
        f"select kind, eni, own, peer, port, hour - {first} as hour, case (hour - {first}) % {HOURS} {bits} end as bit, "  # noqa: S608
        f"count(1) as lines, max(last) as last, max(proof) as proof from ({every_line}) {chosen} group by kind, eni, own, peer, port, hour"
    )
    spans = range(0, (until // HOUR - first) + 1, HOURS)
    columns = ", ".join(
        f"sum(case when hour between {start} and {start + HOURS - 1} then bit else 0 end) as h{number}"
        for number, start in enumerate(spans)
    )
    return (
        f"* | select kind, eni, own, peer, port, sum(lines) as lines, max(last) as last, max(proof) as proof, {columns} "  # noqa: S608
        f"from ({hourly}) group by kind, eni, own, peer, port limit {LIMIT}"
    )


def flows_of(rows: Iterable[Mapping[str, str]]) -> Flows:
    """What the rows of the answer tell."""
    flow_rows: dict[str, list[FlowRow]] = {}
    holders: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    days: dict[str, int] = {}
    skipped: dict[str, int] = {}
    paths = set()
    for row in rows:
        kind, interface = row["kind"], row["eni"]
        columns = (name for name in row if name[0] == "h" and name[1:].isdecimal())
        hours = sum(int(float(row[name])) << (HOURS * int(name[1:])) for name in columns if row[name] != "null")
        if kind == "name":
            instance, _, vpc = row["peer"].partition("/")
            holders.setdefault((vpc, row["own"]), {})[instance, interface] = hours
        elif kind in ("day", "skip"):
            (days if kind == "day" else skipped)[interface] = hours
        elif kind == "path":
            paths.add(row["peer"])
        else:
            port, lines, last = (int(float(row[name])) for name in ("port", "lines", "last"))
            flow_rows.setdefault(kind, []).append(
                FlowRow(kind, interface, row["own"], row["peer"], port, hours, lines, last, float(row["proof"]) > 0)
            )
    partial = f"it has lines of the sampling path {', '.join(sorted(paths))} only" if paths else ""
    return Flows(flow_rows, holders, days, skipped, partial=partial)


def read_flows(env: Environment, account: str, since: int, until: int) -> Flows:
    """Ask the flow log of an account for all of a period: one query, one more for each optional field that it lacks,
    and parts where the answer would be too long. What cannot be read is a `problem`."""
    project, _, logstore = env.policy.accounts[account].flowlog.partition("/")
    where, retry, fields = f"the flow log {project}/{logstore} of {account}", env.patient_retry(), list(OPTIONAL)

    def ask(part: tuple[str, str]) -> tuple[list[Mapping[str, str]], bool]:
        sls = sdk()
        keys = env.accounts("flow-log", retry).keys(account)
        client = sls.client(msgspec.structs.replace(env.settings, credentials=keys), QUERY_SECONDS)
        try:
            answer = client.get_log(project, logstore, since, until, query=statement(since, until, fields, part))
        except (sls.AuditUnavailable, sls.LogException) as error:
            raise read_error(error) from error
        return [log.get_contents() for log in answer.get_logs()], answer.is_completed()

    def whole(part: tuple[str, str] = ("", "")) -> tuple[list[Mapping[str, str]], bool]:
        rows, complete = retry(lambda: ask(part))
        if complete and len(rows) < LIMIT:
            return rows, True
        cuts = [ending for ending in ENDINGS if part[0] < ending and (not part[1] or ending < part[1])]
        if not cuts:
            return rows, False
        middle = cuts[len(cuts) // 2]
        first_rows, is_whole = whole((part[0], middle))
        more_rows, is_whole = whole((middle, part[1])) if is_whole else ([], False)
        return [*first_rows, *more_rows], is_whole

    while True:
        try:
            rows, is_whole = whole()
        except LinkPeerError as error:
            if lacking := [field for field in fields if _lacks(error, field)]:
                fields.remove(lacking[0])
                continue
            reason = str(error).replace("the audit log cannot be read", "refused")
            return Flows(problem=f"{where} was not read: {reason}")
        if not is_whole:
            return Flows(problem=f"{where} did not return all of its flows")
        flows = flows_of(rows)
        return msgspec.structs.replace(flows, partial=flows.partial and f"{where} is sampled: {flows.partial}")


def _lacks(error: LinkPeerError, field: str) -> bool:
    """Whether SLS refused a query because its index has no such field: it names the column."""
    return f"'{field}' cannot be resolved" in str(error)


def port_of(number: int) -> Port:
    """The port that a number is; where it is no port's, every port that connections come from."""
    if number >= FURTHER:
        return Port(str(number - FURTHER))
    if number >= ICMP:
        return Port("icmp")
    name, port = ("udp", number - UDP) if number >= UDP else ("tcp", number)
    return Port(name, port, port) if port else Port(name, *EPHEMERAL)
