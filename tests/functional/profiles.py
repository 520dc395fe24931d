"""Profiles of the `aliyun` CLI for the accounts of a lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alibabacloud_credentials.utils import auth_constant

from tests.functional.lab import REGION, Lab


def write_profiles(lab: Lab, monkeypatch: pytest.MonkeyPatch, home: Path, accounts: dict[str, str]) -> None:
    """Makes `home` the person's folder, with a profile of these names for each account's uid; the first is the current."""
    folder = home / ".aliyun"
    folder.mkdir()
    profiles = []
    for name, uid in accounts.items():
        keys = lab.cloud.identity.accounts[uid]
        given = {"access_key_id": keys.access_key_id, "access_key_secret": keys.access_key_secret}
        profiles.append({"name": name, "mode": "AK", "region_id": REGION, **given})
    (folder / "config.json").write_text(json.dumps({"current": next(iter(accounts)), "profiles": profiles}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(auth_constant, "HOME", str(home))
