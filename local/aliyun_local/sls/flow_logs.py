"""VPC flow logs, as VPC writes them into a logstore: in each window a line for each flow of an interface, or one with `NODATA`
[doc "VPC flow log fields"]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from aliyun_local.sls.backend import SlsBackend
from aliyun_local.sls.state import LogGroup, LogRecord

WINDOW = 600  # seconds, the longest that can be chosen [doc CreateFlowLog: AggregationInterval]
_FIELDS = (
    "action direction srcaddr dstaddr srcport dstport protocol eni-id vm-id vpc-id account-id log-status start end"
)
INDEX: dict[str, Any] = {
    "keys": {name: {"type": "text", "token": [], "doc_value": True} for name in _FIELDS.split()}
    | {name: {"type": "long", "doc_value": True} for name in ("dstport", "protocol", "start", "end")}
}


class Flow(Struct, frozen=True):
    """Packets of a window to, or from, an interface. `time` is in epoch seconds, `protocol` the number of IANA."""

    time: float
    interface: str
    source: str
    target: str
    port: int
    protocol: int = 6
    action: str = "ACCEPT"
    direction: str = "in"


def lines(
    interfaces: Iterable[Mapping[str, Any]], flows: Iterable[Flow], span: tuple[int, int], window: int = WINDOW
) -> list[LogRecord]:
    """The lines of these interfaces, as DescribeNetworkInterfaces shows them, from one instant to another (epoch seconds)."""
    flows_by_window: dict[tuple[str, int], list[Flow]] = defaultdict(list)
    for flow in flows:
        flows_by_window[flow.interface, int(flow.time - span[0]) // window].append(flow)
    records = []
    for interface in interfaces:
        eni = interface["NetworkInterfaceId"]
        interface_fields = {
            "eni-id": eni,
            "vm-id": interface["InstanceId"] or "-",
            "vpc-id": interface["VpcId"],
            "account-id": interface["OwnerId"],
        }
        for number, start in enumerate(range(*span, window)):
            common = {**interface_fields, "start": str(start), "end": str(start + window)}
            no_data = {"log-status": "NODATA", **dict.fromkeys(("action", "direction", "srcaddr", "dstaddr"), "-")}
            texts = [_fields(flow) for flow in flows_by_window[eni, number]] or [no_data]
            records += [LogRecord(min(start + window, span[1]) - 1, 0, {**common, **text}) for text in texts]
    return records


def write(sls: SlsBackend, account: str, place: str, records: Iterable[LogRecord], days: int = 30) -> None:
    """Write lines into `project/logstore` of an account, both made if need be."""
    project, _, logstore = place.partition("/")
    if not any(existing_project.name == project for existing_project in sls.projects(account)):
        sls.create_project(account, project)
        sls.create_logstore(account, project, logstore, days)
        sls.create_index(account, project, logstore, INDEX)
    sls.put(account, project, logstore, LogGroup(tuple(records), "flow_log"))


def _fields(flow: Flow) -> dict[str, str]:
    ends = {"srcaddr": flow.source, "dstaddr": flow.target, "srcport": "40000", "dstport": str(flow.port)}
    return {
        **ends,
        "protocol": str(flow.protocol),
        "action": flow.action,
        "direction": flow.direction,
        "log-status": "OK",
    }
