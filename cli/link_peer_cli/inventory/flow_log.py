"""VPC flow logs as an account keeps them in SLS: what each network interface let in, and on which days it was captured.

A line is one flow of one interface in a window of up to ten minutes, of IPv4 only. An interface without traffic has lines, too, with
`NODATA`; `SKIPDATA` says that lines are missing [doc "VPC flow log fields": log-status, action, direction].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.views.spans import Spans

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import read_error, sdk

DAY = 86_400
LIMIT = 100_000
"""Rows of one answer: more are not read, and then nothing is known."""
PORT = (
    "case cast(protocol as bigint) when 6 then cast(dstport as bigint) when 17 then 100000 + cast(dstport as bigint) "
    "when 1 then 200000 else 400000 end"
)
"""The number of a port, as in `views.spans`; one beyond all of them for what has none."""
SELECT = """* | select 'use' as kind, eni, source, port, max(seen) as last from (
  select "eni-id" as eni, srcaddr as source, case when {spans} then port else -1 end as port, seen from (
    select "eni-id", srcaddr, {port} as port, __time__ as seen from log where direction = 'in' and action = 'ACCEPT'
  )
) where port >= {least} group by eni, source, port
union all select kind, eni, '' as source, 0 as port, day as last from (
  select case "log-status" when 'SKIPDATA' then 'skip' else 'day' end as kind, "eni-id" as eni, (__time__ - {since}) / 86400 as day
    from log
) group by kind, eni, day limit {limit}"""


class Flows(msgspec.Struct, frozen=True):
    """What the flow log of one account tells of a period of whole days. `accepted`: by interface, when each source last sent a
    packet to a port that was let in, by the source's address and the port's number (-1: one that was not asked for). `days`: the
    days, from 0 on, of which it has a line; `skipped`: the interfaces of which lines are missing. `problem` says why nothing is
    known."""

    accepted: Mapping[str, Mapping[tuple[str, int], int]] = {}
    days: Mapping[str, frozenset[int]] = {}
    skipped: frozenset[str] = frozenset()
    problem: str = ""


def statement(spans: Spans, since: int, *, every_port: bool) -> str:
    """The query. Ports that are in none of the spans are one, and left out unless `every_port`."""
    condition = " or ".join(f"port between {low} and {high}" for low, high in spans) or "1 = 0"
    return SELECT.format(spans=condition, port=PORT, least=-1 if every_port else 0, since=since, limit=LIMIT)


def flows_of(rows: Iterable[Mapping[str, str]]) -> Flows:
    """What the rows of the answer tell."""
    accepted: dict[str, dict[tuple[str, int], int]] = {}
    days: dict[str, set[int]] = {}
    skipped = set()
    for row in rows:
        last = int(float(row["last"]))
        if row["kind"] == "use":
            accepted.setdefault(row["eni"], {})[row["source"], int(float(row["port"]))] = last
        elif row["kind"] == "skip":
            skipped.add(row["eni"])
        else:
            days.setdefault(row["eni"], set()).add(last)
    return Flows(accepted, {eni: frozenset(day_numbers) for eni, day_numbers in days.items()}, frozenset(skipped))


def read_flows(env: Environment, account: str, spans: Spans, since: int, until: int, *, every_port: bool) -> Flows:
    """Ask the flow log of an account once for all of a period. What cannot be read is a `problem`."""
    project, _, logstore = env.policy.accounts[account].flowlog.partition("/")
    retry = env.patient_retry()

    def ask() -> tuple[list[Mapping[str, str]], bool]:
        sls = sdk()
        keys = env.accounts("flow-log", retry).keys(account)
        client = sls.client(msgspec.structs.replace(env.settings, credentials=keys))
        try:
            answer = client.get_log(
                project, logstore, since, until, query=statement(spans, since, every_port=every_port)
            )
        except (sls.AuditUnavailable, sls.LogException) as error:
            raise read_error(error) from error
        return [log.get_contents() for log in answer.get_logs()], answer.is_completed()

    where = f"the flow log {project}/{logstore} of {account}"
    try:
        rows, complete = retry(ask)
    except LinkPeerError as error:
        return Flows(problem=f"{where} was not read: {str(error).replace('the audit log cannot be read', 'refused')}")
    if not complete or len(rows) >= LIMIT:
        return Flows(problem=f"{where} did not return all of its flows")
    return flows_of(rows)
