"""VPC flow logs, as VPC writes them into a logstore: in each window a line for each flow of an interface, or one with
`NODATA` [doc "VPC flow log fields"]."""

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
_NUMBERS = ("srcport", "dstport", "protocol", "start", "end")
SYN, SYN_ACK, RESET = 2, 18, 4
"""`tcp-flags` of lines [doc]."""
CLIENT_PORT = 40_000
"""The port that connections come from, if nothing else is said."""


def index_of(*optional: str) -> dict[str, Any]:
    """The index that the console makes for a flow log: every field with analytics on. Logs may lack the optional
    ones."""
    texts = {name: {"type": "text", "token": [], "doc_value": True} for name in [*_FIELDS.split(), *optional]}
    numbers = [name for name in (*_NUMBERS, "tcp-flags") if name in texts]
    return {"keys": texts | {name: {"type": "long", "doc_value": True} for name in numbers}}


INDEX = index_of()
"""Of a log without optional fields."""


class Flow(Struct, frozen=True):
    """Packets of a window to, or from, an interface. `time` is in epoch seconds, `protocol` the number of IANA, `port`
    the destination's."""

    time: float
    interface: str
    source: str
    target: str
    port: int
    protocol: int = 6
    action: str = "ACCEPT"
    direction: str = "in"
    source_port: int = CLIENT_PORT
    flags: int = SYN


class Capture(Struct, frozen=True):
    """How a flow log is captured. `window` is in seconds. `optional`: fields that it has besides: `tcp-flags`,
    `traffic_path`. `path`: of another one than `all`, packets between private addresses have no lines. `gaps` are
    interfaces with the instants from and to which their lines are missing, without a word, or as `skipped` windows.
    Lines come `late` (seconds): by now, the last are not there."""

    window: int = WINDOW
    optional: tuple[str, ...] = ()
    path: str = "all"
    gaps: tuple[tuple[str, float, float], ...] = ()
    skipped: tuple[tuple[str, float, float], ...] = ()
    late: int = 0

    def index(self) -> dict[str, Any]:
        """The index of such a log."""
        return index_of(*self.optional)


class Ports(Struct, frozen=True):
    """Of a connection: the target's port, the protocol's number, and the port that it comes from. ICMP has no ports."""

    port: int
    protocol: int = 6
    source_port: int = CLIENT_PORT


def conversation(
    time: float,
    source: Mapping[str, Any] | str,
    target: Mapping[str, Any] | str,
    ports: Ports,
    *,
    nat: str = "",
    accepted: bool = True,
    answered: bool = True,
) -> list[Flow]:
    """The flows of a connection at both ends, which are interfaces, as DescribeNetworkInterfaces shows them, or
    addresses of something else. Behind `nat`, the target sees that address. One that is not `accepted` is refused at
    the target."""
    start, end = _address(source), _address(target)
    packets = [(source, "out", start, end), (target, "in", nat or start, end)]
    replies = [(target, "out", end, nat or start), (source, "in", end, start)] if accepted and answered else []
    source_port, port = (0, 0) if ports.protocol == 1 else (ports.source_port, ports.port)
    flows = [
        Flow(
            time, interface["NetworkInterfaceId"], sender, receiver, port, ports.protocol,
            "ACCEPT" if accepted or direction == "out" else "REJECT", direction, source_port,
        )
        for interface, direction, sender, receiver in packets
        if not isinstance(interface, str)
    ]  # fmt: skip
    return flows + [
        Flow(
            time, interface["NetworkInterfaceId"], sender, receiver, source_port, ports.protocol,
            "ACCEPT", direction, port, SYN_ACK,
        )
        for interface, direction, sender, receiver in replies
        if not isinstance(interface, str)
    ]  # fmt: skip


def lines(
    interfaces: Iterable[Mapping[str, Any]],
    flows: Iterable[Flow],
    span: tuple[int, int],
    window: int = WINDOW,
    capture: Capture | None = None,
) -> list[LogRecord]:
    """The lines of these interfaces, as DescribeNetworkInterfaces shows them, from one instant to another (epoch
    seconds)."""
    capture = capture or Capture(window)
    flows_by_window: dict[tuple[str, int], list[Flow]] = defaultdict(list)
    for flow in flows:
        flows_by_window[flow.interface, int(flow.time - span[0]) // capture.window].append(flow)
    records = []
    for interface in interfaces:
        eni = interface["NetworkInterfaceId"]
        interface_fields = {
            "eni-id": eni,
            "vm-id": interface["InstanceId"] or "-",
            "vpc-id": interface["VpcId"],
            "account-id": interface["OwnerId"],
        }
        for number, start in enumerate(range(*span, capture.window)):
            end = start + capture.window
            if _within(capture.gaps, eni, start) or (capture.late and end > span[1] - capture.late):
                continue
            common = {**interface_fields, "start": str(start), "end": str(end)}
            status = "SKIPDATA" if _within(capture.skipped, eni, start) else "NODATA"
            no_data = {"log-status": status, **dict.fromkeys(("action", "direction", "srcaddr", "dstaddr"), "-")}
            flow_texts = _texts(flows_by_window[eni, number], capture) if status == "NODATA" else []
            texts = flow_texts or [no_data]
            records += [LogRecord(min(end, span[1]) - 1, 0, {**common, **text}) for text in texts]
    return records


def write(
    sls: SlsBackend,
    account: str,
    place: str,
    records: Iterable[LogRecord],
    days: int = 30,
    index: Mapping[str, Any] = INDEX,
) -> None:
    """Write lines into `project/logstore` of an account, both made if need be."""
    project, _, logstore = place.partition("/")
    if not any(existing_project.name == project for existing_project in sls.projects(account)):
        sls.create_project(account, project)
        sls.create_logstore(account, project, logstore, days)
        sls.create_index(account, project, logstore, index)
    sls.put(account, project, logstore, LogGroup(tuple(records), "flow_log"))


def _address(end: Mapping[str, Any] | str) -> str:
    return end if isinstance(end, str) else str(end["PrivateIpAddress"])


def _within(spans: Iterable[tuple[str, float, float]], interface: str, instant: float) -> bool:
    return any(eni == interface and since <= instant < until for eni, since, until in spans)


def _texts(flows: Iterable[Flow], capture: Capture) -> list[dict[str, str]]:
    return [_fields(flow, capture) for flow in flows if capture.path == "all" or not _is_private(flow)]


def _is_private(flow: Flow) -> bool:
    return all(address.startswith(("10.", "172.", "192.168.")) for address in (flow.source, flow.target))


def _fields(flow: Flow, capture: Capture) -> dict[str, str]:
    optional = {"tcp-flags": str(flow.flags if flow.protocol == 6 else 0), "traffic_path": capture.path}
    return {
        "srcaddr": flow.source,
        "dstaddr": flow.target,
        "srcport": str(flow.source_port),
        "dstport": str(flow.port),
        "protocol": str(flow.protocol),
        "action": flow.action,
        "direction": flow.direction,
        "log-status": "OK",
        **{name: optional[name] for name in capture.optional},
    }
