"""The functions deployed in the home account, on either generation of Function Compute."""

from __future__ import annotations

from link_peer.runtime.settings import Settings

from link_peer_cli.deployed.fc2 import Fc2
from link_peer_cli.deployed.fc3 import Fc3
from link_peer_cli.deployed.port import Functions


def deployed_functions(settings: Settings, account: str, service: str = "") -> Functions:
    """Return a client of FC 2.0 if a service is given, else of FC 3.0."""
    if service:
        return Fc2(settings, account, service)
    return Fc3(settings, account)
