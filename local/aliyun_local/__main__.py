"""`aliyun-local`: a local Alibaba Cloud until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from aliyun_local import world
from aliyun_local.cloud import LocalCloud
from aliyun_local.core.regions import REGIONS
from aliyun_local.core.tls import Authority
from aliyun_local.server import serve

_SIGNAL_CHECK_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a world until SIGINT or SIGTERM, and return the exit code."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    cloud = LocalCloud(region=options.region)
    with ExitStack() as stack:
        try:
            world.load(cloud, options.world)
            folder = stack.enter_context(TemporaryDirectory(prefix="aliyun-local-"))
            stack.enter_context(serve(cloud, options.port, Authority(Path(folder)) if options.tls else None))
        except (world.WorldError, OSError) as problem:
            print(f"aliyun-local: {problem}", file=sys.stderr)
            return 2
        for place in cloud.regions.values():
            place.triggers.start()
            stack.callback(place.triggers.close)
        described = world.describe(cloud)
        print(json.dumps(described) if options.json else _text(described), flush=True)
        # The kernel may deliver the signal to any thread, but Python runs the handler in this one. It must wake up from
        # time to time to do so.
        while not stop.wait(_SIGNAL_CHECK_SECONDS):
            pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("aliyun-local", description="Run a local Alibaba Cloud until Ctrl-C.")
    parser.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1; 0 (default) picks a free one")
    names = ", ".join(sorted(path.stem for path in world.WORLDS.glob("*.yaml")))
    parser.add_argument("--world", default=world.DEFAULT, help=f"a world file, or {names}; default: {world.DEFAULT}")
    parser.add_argument(
        "--region",
        default="cn-qingdao",
        choices=sorted(REGIONS),
        metavar="REGION",
        help="of the endpoint; default: cn-qingdao",
    )
    parser.add_argument("--tls", action="store_true", help="use https, with a certificate authority made at start")
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON: endpoint, accounts, keys and names"
    )
    parser.add_argument("--version", action="version", version=f"aliyun-local {version('aliyun-local')}")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise ValueError(text)
    return port


def _text(described: dict[str, object]) -> str:
    """The description for a person: one value a line."""
    lines = []
    for name, value in described.items():
        if isinstance(value, list):
            lines += [f"{name}:", *(f"  {item if isinstance(item, str) else json.dumps(item)}" for item in value)]
        elif value:
            lines.append(f"{name}: {value}")
    return "\n".join([*lines, "Ctrl-C stops it. Nothing is saved."])


if __name__ == "__main__":
    sys.exit(main())
