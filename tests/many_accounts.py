"""Worlds of any number of accounts, for what must not depend on there being two."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml


def world_of(count: int, role: str = "link-peer") -> dict[str, Any]:
    """A world file's content: `count` accounts with uids drawn at random, the first of them home, and a VPC of home.

    Its `policy` names a role and an external id of each of the others. The same count gives the same world.
    """
    draw = random.Random(count)
    home, *others = (str(draw.randrange(10**15, 10**16)) for _ in range(count))
    entered = {
        uid: {"role": f"acs:ram::{uid}:role/{role}", "external_id": f"{draw.getrandbits(128):032x}"} for uid in others
    }
    names = {uid: f"n{number}@example.com" for number, uid in enumerate((home, *others))}
    return {
        "home": home,
        "deployment": "prod",
        "accounts": names,
        "vpcs": [{"name": "main", "owner": home, "cidr": "10.0.0.0/16", "shared_with": others}],
        "policy": {
            "deployment": "prod",
            "accounts": {uid: {"name": name, **entered.get(uid, {})} for uid, name in names.items()},
            "accept_tags": True,
        },
    }


def written(folder: Path, text: dict[str, Any]) -> Path:
    """The world's file."""
    path = folder / "world.yaml"
    path.write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
    return path
