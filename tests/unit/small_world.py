"""A small world: app, db and cache are groups of one VPC; a to d are instances."""

from __future__ import annotations

from link_peer.domain.model import Party
from link_peer.domain.policy import AccountPolicy, Policy

HOME = "1000000000000001"
PEER = "1000000000000002"
REGION = "cn-qingdao"
MANAGED = f"link-managed.prod.{HOME}"
INSTANCES = f"{MANAGED}.instances"
NOW = 1_795_564_800.0  # 2026-11-25T00:00:00Z

APP, DB, CACHE = (Party(HOME, f"sg-{name}") for name in ("app", "db", "cache"))
A, B, C, D = (Party(HOME, f"i-{name}") for name in "abcd")

POLICY = Policy("prod", {HOME: AccountPolicy("a"), PEER: AccountPolicy("b", f"acs:ram::{PEER}:role/link-peer")})
