"""The policy file as values. inbound.policy_file reads the file."""

from __future__ import annotations

import msgspec

from link_peer.domain.model import Ports
from link_peer.domain.tags import Who


class AccountPolicy(msgspec.Struct, frozen=True):
    """An account and the role through which it is entered; the home account has none. `name` is only displayed."""

    name: str
    role: str | None = None
    external_id: str | None = None


class Allow(msgspec.Struct, frozen=True):
    """An entry of `allow`: consent in one direction. Without ports, it covers everything. `text` names it in records."""

    source: Who
    target: Who
    ports: Ports
    text: str


class Limits(msgspec.Struct, frozen=True):
    """Limits of the policy: rules removed in one run, ports of a link, and ports in one range."""

    removals_per_run: int = 50
    max_ports: int = 16
    max_port_span: int = 1024


class Policy(msgspec.Struct, frozen=True):
    """A valid policy. `accounts` are by uid, and exactly one has no role; `deny` are ports that are never opened."""

    deployment: str
    accounts: dict[str, AccountPolicy]
    accept_tags: bool = True
    allow: tuple[Allow, ...] = ()
    deny: Ports = ()
    limits: Limits = Limits()
    paused: bool = False

    @property
    def home(self) -> str:
        """The uid of the home account, in which the functions run."""
        return next(uid for uid, account in self.accounts.items() if account.role is None)
