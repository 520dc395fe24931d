"""Runs a package: one process of the runtime's Python with the package folder alone on its path, as an instance of a function.

`link-peer package` starts each function of a new package so, and the tests in tests/infrastructure/package and the benchmarks
make deliveries to it. BUDGET says how many modules of which packages a function may import for them.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec import Struct

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
"""The packages of others that each function may import, and how many modules of each. Those that differ between runtimes have
room for a few more. The layout of our own modules is free: the package has them in one file (bundle.py)."""
FUNCTIONS = tuple(BUDGET)
NEVER = frozenset({"asyncio.events", "concurrent.futures.process", "multiprocessing", "unittest", "yaml"})
"""Modules that no function may import: the large ones of the standard library, and the YAML parser."""

# Runs in the package's Python. Answers go to a descriptor of their own, because an SDK may print.
_DRIVER = """
import json, os, sys
folder, answers = sys.argv[1], os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
os.chdir(folder)
sys.path.insert(0, folder)

class Function: name = "f"
class Context: request_id = "r-1"; function = Function

def clock(ahead):
    import time
    class Hurried:
        slept = ahead
        def now(self): return time.time() + self.slept
        def sleep(self, seconds): self.slept += seconds
    return Hurried()

def call(order):
    import importlib
    from link_peer.app import compose
    Function.timeout = order["timeout"]
    compose.clock_for_functions = lambda: clock(order["ahead"])
    if order["patience"] is not None:
        from link_peer.alicloud import mns, sdk
        compose.start()
        from link_peer.alicloud import sls
        sdk.READ_TIMEOUT_MS = int(order["patience"] * 1000)
        sls.TIMEOUT_SECONDS = mns.TIMEOUT_SECONDS = order["patience"]
    if order["forget_sessions"]:
        from link_peer.alicloud.sts import CACHE
        CACHE.clear()
    handler = importlib.import_module(order["function"]).handler
    return handler(order["body"].encode(), Context)

def modules():
    from link_peer.alicloud.leave_out import StandInModule
    kinds = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        standard = top in sys.stdlib_module_names or top.startswith("_sysconfig")
        kinds[name] = "stand-in" if type(module) is StandInModule else "standard" if standard else "other"
    return kinds

for line in sys.stdin:
    order = json.loads(line)
    try:
        if "run" in order:
            space = {}
            exec(order["run"], space)
            answer = {"answer": space["answer"]}
        else:
            answer = {"answer": modules() if order["function"] == "modules" else call(order)}
    except Exception as error:
        names = [kind.__name__ for kind in type(error).__mro__]
        answer = {"error": str(error), "kinds": names}
    print(json.dumps(answer), file=answers, flush=True)
"""


class HandlerError(Exception):
    """What a handler in a package raised. `kinds` are the names of its class and their bases."""

    def __init__(self, text: str, kinds: list[str]) -> None:
        super().__init__(f"{kinds[0]}: {text}")
        self.kinds = kinds


class Imported(Struct, frozen=True):
    """The modules of an instance: by package of others (STANDARD is one), their names, and those of stand-ins."""

    packages: Mapping[str, int]
    names: frozenset[str]
    stand_ins: frozenset[str]

    def excess(self, budget: Mapping[str, int]) -> list[str]:
        """What is imported beyond a budget, in words."""
        over = [
            f"{count} modules of {name}, of {budget[name]}" if name in budget else f"{name}, which is not in the budget"
            for name, count in sorted(self.packages.items())
            if count > budget.get(name, 0)
        ]
        return over + sorted(NEVER & self.names)


class Instance:
    """A function instance: one process with the package folder alone on its path, for any number of deliveries."""

    def __init__(self, package: Path, python: str, env: Mapping[str, str]) -> None:
        """`env` is the function's whole environment."""
        command = [python, "-I", "-S", "-B", "-c", _DRIVER, str(package.resolve())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(env), text=True
        )

    def deliver(
        self, function: str, body: object, *, ahead: float = 0, patience: float | None = None, timeout: float = 120
    ) -> dict[str, int]:
        """The outcomes of one delivery. Raises HandlerError.

        `ahead`: seconds that the function's clock is ahead; waiting only moves it. `patience`: read timeout of the clients;
        without it, the package's own. `timeout`: seconds that the function may run.
        """
        order = {"function": function, "body": body if isinstance(body, str) else json.dumps(body)}
        more = {"ahead": ahead, "patience": patience, "timeout": timeout, "forget_sessions": patience is not None}
        outcomes: dict[str, int] = json.loads(self._ask({**order, **more}))["outcomes"]
        return outcomes

    def run(self, code: str) -> Any:
        """The value that code, run in the instance, gives the name `answer`. Raises HandlerError."""
        return self._ask({"run": code})

    def imported(self) -> Imported:
        """What has been imported so far."""
        found: dict[str, str] = self._ask({"function": "modules"})
        real = {name: kind for name, kind in found.items() if kind != "stand-in"}
        packages = Counter(_package(name) if kind == "other" else STANDARD for name, kind in real.items())
        del packages[""]
        return Imported(packages, frozenset(real), frozenset(found) - set(real))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def __enter__(self) -> Instance:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise HandlerError("the process has ended", ["Ended"])
        answer = json.loads(line)
        if "error" in answer:
            raise HandlerError(answer["error"], answer["kinds"])
        return answer["answer"]


def _package(module: str) -> str:
    """The package of a module. Ours, the driver, and requests' second names for modules count as none."""
    top = module.partition(".")[0]
    ours = top in ("__main__", "link_peer", *FUNCTIONS)
    return "" if ours or module.startswith("requests.packages.") else top
