"""Traffic of a lab, as the flow logs of its accounts have it: who connected to whom, and how it was captured."""

from __future__ import annotations

from typing import Any

import yaml
from aliyun_local.api import Capture, Flow, Instance, Ports, conversation, flow_logs
from link_peer_cli.demo.world import shipped_roles
from msgspec.structs import replace

from tests.functional.lab import HOME, PEER, Lab

DAY = 86_400
STEP = 5 * DAY
"""The log service takes no lines that are older than a week."""


class Traffic:
    """A month of connections, which begins now. `write` lets it pass, and puts it into the flow logs of both accounts,
    or of these."""

    def __init__(self, lab: Lab, days: int = 30, capture: Capture | None = None) -> None:
        self._lab = lab
        self.days = days
        self.capture = capture or Capture()
        self.since = int(lab.cloud.clock.now())
        self.now = self.since + days * DAY
        self._written_until = self.since
        self.flows: list[Flow] = []
        self._noted: dict[str, dict[str, dict[str, Any]]] = {}

    def interfaces(self, account: str) -> dict[str, dict[str, Any]]:
        """The interfaces of an account, those that were released meanwhile too, by the instance and by their own
        ids."""
        answer = self._lab.call(account, "DescribeNetworkInterfaces", {"MaxResults": "500"})
        rows = answer["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        noted = self._noted.setdefault(account, {})
        noted |= {row["NetworkInterfaceId"]: row for row in rows}
        return noted

    def of(self, instance: Instance | str) -> dict[str, Any] | str:
        """The primary interface of an instance; an address as it is."""
        if isinstance(instance, str):
            return instance
        rows = self.interfaces(instance.account).values()
        return next(row for row in rows if row["InstanceId"] == instance.id)

    def connect(
        self,
        source: Instance | str,
        target: Instance | str,
        port: int | Ports,
        days: list[int] | range | None = None,
        **how: Any,
    ) -> None:
        """A connection at noon of each of these days, by default of all."""
        ports = Ports(port) if isinstance(port, int) else port
        for day in range(self.days) if days is None else days:
            ends = self.of(source), self.of(target)
            self.flows += conversation(self.since + day * DAY + DAY // 2, *ends, ports, **how)

    def go_on(self, days: int) -> None:
        """So many days pass without a packet."""
        self.days, self.now = self.days + days, self.now + days * DAY
        self.write(roles=False)

    def write(self, *accounts: str, roles: bool = True) -> None:
        """Write the flow logs of these accounts, by default of both, and name them in the policy file."""
        uids = accounts or (HOME, PEER)
        for start in range(self._written_until, self.now, STEP):
            end = min(start + STEP, self.now)
            self._lab.cloud.clock.advance(end - self._lab.cloud.clock.now())
            for uid in uids:
                rows = self.interfaces(uid).values()
                capture = self.capture if end == self.now else replace(self.capture, late=0)
                lines = flow_logs.lines(rows, self.flows, (start, end), capture=capture)
                place = f"logs-{uid}/flows"
                flow_logs.write(self._lab.cloud.sls, uid, place, lines, days=60, index=self.capture.index())
        self._written_until = self.now
        for uid in uids:
            self._lab.policy_account(uid, flowlog=f"logs-{uid}/flows")
        if roles:
            policy = yaml.safe_load(self._lab.policy_path.read_text("utf-8"))
            shipped_roles(self._lab.cloud, self._lab.cloud.world, policy["accounts"], "link")
