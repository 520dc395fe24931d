"""Measures the cost of a function's first call before it uses the network, with and without lazy SDK models.

`python -m benchmarks.cold_start [rounds]`. Each round starts one process for each variant. Prints
the medians of wall time and peak memory, and the number of modules. Bytecode is cached on disk for all variants.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

MEASURE = """
import json, resource, sys, time
sys.path[:0] = [{root!r} + "/shared", {root!r} + "/functions"]
start = time.perf_counter()
{code}
wall = (time.perf_counter() - start) * 1000
print(json.dumps([wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, len(sys.modules)]))
"""

CLIENT = """
from alibabacloud_ecs20140526.client import Client
from alibabacloud_ecs20140526 import models
from alibabacloud_tea_openapi.models import Config
Client(Config(access_key_id="a", access_key_secret="b", region_id="cn-qingdao", endpoint="127.0.0.1:1"))
models.DescribeInstancesRequest(region_id="cn-qingdao")
"""

VARIANTS = {
    "nothing": "",
    "our own code (import auto_link)": "import auto_link",
    "typed ECS SDK, unchanged": CLIENT,
    "typed ECS SDK, lazy models (ours)": "from link_peer.alicloud import lazy_models; lazy_models.install()" + CLIENT,
    "generic tea-openapi client": (
        "from alibabacloud_tea_openapi.client import Client\n"
        "from alibabacloud_tea_openapi.models import Config\n"
        'Client(Config(access_key_id="a", access_key_secret="b", region_id="cn-qingdao", endpoint="127.0.0.1:1"))'
    ),
    "aliyun.log (the audit log's SDK)": "import aliyun.log",
    "whole first event: auto_link + ECS + SLS": "import auto_link, link_peer.alicloud.sls\n"
    "from link_peer.alicloud import lazy_models; lazy_models.install()" + CLIENT,
}


def main(rounds: int) -> None:
    """Runs every variant `rounds` times and prints the medians."""
    samples: dict[str, list[list[float]]] = {name: [] for name in VARIANTS}
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for number in range(rounds + 1):
        for name, code in VARIANTS.items():
            script = MEASURE.format(root=str(ROOT), code=code)
            out = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, check=True, text=True)
            if number:  # not counted: the first round writes bytecode and warms the page cache
                samples[name].append(json.loads(out.stdout))
    print(f"{'median of ' + str(rounds):45} {'ms':>6} {'MB':>6} {'modules':>8}")
    for name, rows in samples.items():
        wall, memory, modules = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:45} {wall:6.0f} {memory:6.0f} {modules:8.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
