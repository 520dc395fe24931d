"""What several tests of the wire begin with."""

from __future__ import annotations

import pytest
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.identity import Key

from tests.local.clients import key_of


@pytest.fixture(name="key")
def _key(local_cloud: LocalCloud) -> Key:
    """The home account's key."""
    return key_of(local_cloud)
