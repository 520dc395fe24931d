"""`link-peer version`: which link-peer, Python and SDKs these are."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed

from link_peer_cli.ui.console import print_answer
from link_peer_cli.ui.options import Json

SDKS = (
    "alibabacloud-ecs20140526",
    "alibabacloud-fc20230330",
    "alibabacloud-fc-open20210406",
    "aliyun-log-python-sdk",
    "aliyun-mns-sdk",
)


def version(as_json: Json = False) -> None:
    """Print the versions of link-peer, of Python and of the SDKs, for a bug report."""
    found = {name: installed(name) for name in ("link-peer", *SDKS)} | {"python": platform.python_version()}
    if as_json:
        print_answer(found)
    else:
        print("\n".join(f"{name} {number}" for name, number in found.items()))
