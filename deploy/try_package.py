"""Tries a package: its handlers run in the runtime's Python with nothing but the package folder, against a local cloud.

`python -m deploy.try_package FOLDER PYTHON` makes one delivery to each function and prints what it imported, beside its budget.
It exits with 1 if a function imports a module of a package that is not in BUDGET, or more modules than that. The tests in
tests/infrastructure/package use `Instance` for deliveries of their own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from link_peer.inbound import policy_file
from link_peer_local import world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import SystemClock
from link_peer_local.ram.documents import READER
from link_peer_local.server import serve
from msgspec import Struct

STANDARD = "the standard library"
_SDKS = {
    "Tea": 8,
    "alibabacloud_credentials": 15,
    "alibabacloud_credentials_api": 2,
    "alibabacloud_ecs20140526": 40,
    "alibabacloud_gateway_spi": 3,
    "alibabacloud_tea_openapi": 16,
    "aliyun": 79,
    "certifi": 2,
    "darabonba": 14,
    "google": 31,
    "link_peer": 80,
    "lz4": 5,
    "msgspec": 12,
    "requests": 18,
    "six": 1,
    "urllib3": 30,
    STANDARD: 250,
}
_STS = {"alibabacloud_sts20150401": 14}
_MNS = {"deprecated": 3, "mns": 14, "wrapt": 15}
BUDGET: dict[str, dict[str, int]] = {
    "auto_link": {**_SDKS, **_MNS},
    "cross_account": {**_SDKS, **_STS, **_MNS},
    "sweep": {**_SDKS, **_STS},
}
"""The packages that each function may import, and how many modules of each. Ours, and those that differ between runtimes, have
room for a few more."""
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
    from link_peer.runtime import compose
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
        CACHE.sessions.clear()
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
    """The modules of an instance: by package (STANDARD is one), their names, and those of stand-ins."""

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
        command = [python, "-I", "-S", "-c", _DRIVER, str(package)]
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
    """The package of a module. The handlers count as link_peer; the driver, and requests' second names for modules, as none."""
    top = module.partition(".")[0]
    if module == "__main__" or module.startswith("requests.packages."):
        return ""
    return "link_peer" if top in BUDGET else top


def environment(cloud: LocalCloud, endpoint: str, home: str) -> dict[str, str]:
    """The environment of a function on a local cloud."""
    role = cloud.identity.roles[f"acs:ram::{home}:role/{cloud.world.function_role}"]
    keys = cloud.identity.issue(role, "package", cloud.clock.now() + 86_400)
    return {
        "LINK_PEER_CLOUD": endpoint,
        "LINK_PEER_REGION": cloud.region,
        "LINK_PEER_AUDIT_PROJECT": cloud.world.audit_project,
        "LINK_PEER_AUDIT_LOGSTORE": cloud.world.audit_logstore,
        "LINK_PEER_QUEUE": cloud.world.queue,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.secret,
        "ALIBABA_CLOUD_SECURITY_TOKEN": str(keys.token),
        "LANG": "C.UTF-8",
    }


def with_policy(package: Path, folder: Path, policy: Mapping[str, Any]) -> Path:
    """A copy of a package, in a new folder, with another policy, compiled as the packaged one is."""
    shutil.copytree(package, folder)
    path = folder / "policy.yaml"
    path.write_text(json.dumps(policy), encoding="utf-8")  # JSON is YAML
    (folder / "link_peer" / "inbound" / policy_file.COMPILED.name).write_bytes(policy_file.compile_for_package(path))
    return folder


def local_policy(cloud: LocalCloud) -> dict[str, Any]:
    """The policy for the accounts of a local world."""
    entered = {
        role.account: {"role": role.arn, "external_id": role.external_id}
        for role in cloud.identity.roles.values()
        if role.account != cloud.world.home and not role.name.endswith(READER)
    }
    return {"deployment": "prod", "accounts": {cloud.world.home: {}, **entered}}


def main(package: Path, python: str) -> int:
    """Print a line for each function. Return the exit code."""
    cloud = LocalCloud(SystemClock())
    world.load(cloud)
    home, shared = cloud.world.home, cloud.world.vpcs[-1]["id"]
    [peer] = {role.account for role in cloud.identity.roles.values()} - {home}
    app, db = (cloud.ecs.create_group(home, shared, tags={"link-accept": "* " + f"*@{peer}"}) for _ in range(2))
    far = cloud.ecs.create_group(peer, shared, tags={"link-accept": f"*@{home}"})
    wish = f"{db.id}:tcp/3306 {far.id}@{peer}:tcp/3306"
    app_instance = cloud.ecs.create_instance(home, [app.id], tags={"link-peer": wish})
    now = datetime.now(timezone.utc)
    event = {
        "id": "1",
        "source": "acs.ecs",
        "type": "ecs:Instance:StateChange",
        "time": now.isoformat(),
        "aliyunaccountid": home,
        "data": {"resourceId": app_instance.id, "state": "Running"},
    }
    request = {
        "version": 1,
        "request_id": "chg-1",
        "action": "link",
        "region": cloud.region,
        "from": {"account": home, "party": app.id},
        "to": {"account": peer, "party": far.id},
        "ports": ["tcp/443"],
        "expires_at": (now + timedelta(hours=1)).isoformat(),
    }
    deliveries = {
        "auto_link": (event, {"applied": 1}),
        "cross_account": (request, {"applied": 1}),
        "sweep": ({"triggerName": "every-10m"}, {"applied": 1}),
    }
    over: list[str] = []
    with tempfile.TemporaryDirectory() as folder, serve(cloud) as server:
        tried = with_policy(package, Path(folder) / "code", local_policy(cloud))
        for function, (body, expected) in deliveries.items():
            with Instance(tried, python, environment(cloud, server.endpoint, home)) as instance:
                outcomes = instance.deliver(function, body)
                imported = instance.imported()
            print(f"{function}: {sum(imported.packages.values())} modules of {len(imported.packages)} packages")
            over += [f"{function} imports {what}" for what in imported.excess(BUDGET[function])]
            if outcomes != expected:
                over.append(f"{function} answers {outcomes}, not {expected}")
    print("\n".join(over), end="\n" if over else "", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
