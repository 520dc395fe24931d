"""What is asked of an instance of the package: deliveries, and which modules it has imported for them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from link_peer_deploy.cut import CLIENTS, NOTE
from link_peer_deploy.instance import FUNCTIONS, FunctionInstance

STANDARD = "the standard library"
_SDKS = {
    "Tea": 8,
    "alibabacloud_credentials": 15,
    "alibabacloud_credentials_api": 2,
    "alibabacloud_ecs20140526": 35,
    "alibabacloud_gateway_spi": 3,
    "alibabacloud_tea_openapi": 16,
    "aliyun": 11,
    "certifi": 2,
    "darabonba": 14,
    "lz4": 4,
    "msgspec": 8,
    "requests": 18,
    "six": 1,
    "urllib3": 30,
    STANDARD: 215,
}
_STS = {"alibabacloud_sts20150401": 14}
_MNS = {"deprecated": 3, "mns": 14, "wrapt": 15}
BUDGET: dict[str, dict[str, int]] = {
    "auto_link": {**_SDKS, **_MNS},
    "cross_account": {**_SDKS, **_STS, **_MNS},
    "sweep": {**_SDKS, **_STS, **_MNS},
}
"""The packages of others that each function may import, and how many modules of each. Those that differ between
runtimes have room for a few more. The layout of our own modules is free: the package has them in one file
(bundle.py)."""
NEVER = frozenset({"asyncio.events", "concurrent.futures.process", "multiprocessing", "unittest", "yaml"})
"""Modules that no function may import: the large ones of the standard library, and the YAML parser."""

DELIVER = """
import importlib, time
from link_peer.app import compose

class Hurried:
    slept = {ahead}
    def now(self): return time.time() + self.slept
    def sleep(self, seconds): self.slept += seconds

class Function: name, timeout = "f", 120
class Context: request_id, function = "r-1", Function

clock = Hurried()
compose.clock_for_functions = lambda: clock
patience = {patience}
if patience is not None:
    from link_peer.alicloud import mns, sdk
    compose.start()
    from link_peer.alicloud import sls
    from link_peer.alicloud.sts import CACHE
    sdk.READ_TIMEOUT_MS = int(patience * 1000)
    sls.TIMEOUT_SECONDS = mns.TIMEOUT_SECONDS = patience
    CACHE.clear()
answer = importlib.import_module({function!r}).handler({body!r}, Context)
"""
MODULES = """
import sys
from link_peer.alicloud.leave_out import StandInModule
standard = lambda top: top in sys.stdlib_module_names or top.startswith("_sysconfig")
real = [name for name, module in list(sys.modules.items()) if type(module) is not StandInModule]
answer = {name: standard(name.partition(".")[0]) for name in real}
"""


def deliver(
    instance: FunctionInstance, function: str, body: object, *, ahead: float = 0, patience: float | None = None
) -> dict[str, int]:
    """The outcomes of one delivery. Raises HandlerError.

    `ahead`: seconds that the function's clock is ahead; waiting only moves it. `patience`: read timeout of the clients,
    without the sessions of earlier deliveries; without it, the package's own.
    """
    event = (body if isinstance(body, str) else json.dumps(body)).encode()
    code = DELIVER.format(function=function, body=event, ahead=ahead, patience=patience)
    outcomes: dict[str, int] = json.loads(instance.run(code))["outcomes"]
    return outcomes


def is_cut(package: Path) -> bool:
    """Whether the SDKs' clients in a package folder are cut: in a plain one, they are not."""
    return all((package / name).read_text(encoding="utf-8").endswith(NOTE) for name in CLIENTS)


def excess(instance: FunctionInstance, *functions: str) -> list[str]:
    """What has been imported beyond the budgets of these functions, in words. A plain package, which starts more
    slowly, has none: what no function may import is all that counts."""
    budget: Mapping[str, int] = {name: count for function in functions for name, count in BUDGET[function].items()}
    result: dict[str, bool] = instance.run(MODULES)
    if not is_cut(Path(instance.run("import os\nanswer = os.getcwd()"))):
        return sorted(NEVER & result.keys())
    packages = Counter(STANDARD if standard else _package(name) for name, standard in result.items())
    del packages[""]
    over = [
        f"{count} modules of {name}, of {budget[name]}" if name in budget else f"{name}, which is not in the budget"
        for name, count in sorted(packages.items())
        if count > budget.get(name, 0)
    ]
    return over + sorted(NEVER & result.keys())


def _package(module: str) -> str:
    """The package of a module. Ours, the driver, and requests' second names for modules count as none."""
    top = module.partition(".")[0]
    ours = top in ("__main__", "link_peer", *FUNCTIONS)
    return "" if ours or module.startswith("requests.packages.") else top
