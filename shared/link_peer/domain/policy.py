"""The policy file as values: accounts, what is allowed, what is never opened, limits. Read by inbound.policy_file."""

from __future__ import annotations

import msgspec

from link_peer.domain.model import Ports
from link_peer.domain.tags import Who


class AccountPolicy(msgspec.Struct, frozen=True):
    """An account and how to enter it. The one without a role is home; `name` is for people."""

    name: str
    role: str | None = None
    external_id: str | None = None


class Allow(msgspec.Struct, frozen=True):
    """A reviewed pair, one direction. Without ports: everything. `text` is how records name it."""

    source: Who
    target: Who
    ports: Ports
    text: str


class Limits(msgspec.Struct, frozen=True):
    removals_per_run: int = 50
    max_ports: int = 16
    max_port_span: int = 1024


class Policy(msgspec.Struct, frozen=True):
    deployment: str
    accounts: dict[str, AccountPolicy]
    accept_tags: bool = True
    allow: tuple[Allow, ...] = ()
    deny: Ports = ()
    limits: Limits = Limits()
    paused: bool = False

    @property
    def home(self) -> str:
        """The function's own account."""
        return next(uid for uid, account in self.accounts.items() if account.role is None)
