"""How a package starts: whatever policy it holds, and within its budget of instructions."""

from __future__ import annotations

import json
import os
import random
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from link_peer_deploy import cut, packaging
from link_peer_deploy.instance import FunctionInstance
from link_peer_deploy.runtime_python import runtime_in_use

from benchmarks import runner
from benchmarks.cloud import CloudProcess
from benchmarks.figures import cold_start
from benchmarks.process import Code, can_count
from benchmarks.runner import Bench
from tests.infrastructure.package.conftest import PYTHON, with_policy
from tests.infrastructure.package.deliveries import is_cut

MARGIN = 1.05  # of the budget: calls side by side open three connections or four
BUDGET = json.loads(Path(runner.__file__).with_name("budget.json").read_text(encoding="utf-8"))


CLIENTS = """
import importlib
from link_peer.app import compose
compose.start()
answer = [getattr(importlib.import_module(module), client).__name__ for module, client in {clients}]
"""


def _module(name: str) -> str:
    """The module of a file in a package."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def accounts(count: int) -> dict[str, Any]:
    """A policy of so many accounts with random uids, of which the first is home."""
    chance = random.Random(count)
    uids = [str(chance.randrange(10**15, 10**16)) for _ in range(count)]
    entered = {uid: {"role": f"acs:ram::{uid}:role/link-peer", "external_id": f"{uid}-secret"} for uid in uids[1:]}
    return {"deployment": "prod", "accounts": {uids[0]: {}, **entered}}


@pytest.mark.parametrize("count", [1, 3, 500])
def test_a_package_of_any_number_of_accounts_starts(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Each function starts with nothing but the package, and loads the compiled policy. No world is needed for it. The
    package may be named from the current folder."""
    monkeypatch.chdir(tmp_path)
    policy = accounts(count)
    built = with_policy(package, tmp_path / "code", policy)
    packaging.check_imports(Path("code"), PYTHON)
    with FunctionInstance(built, PYTHON, {"LANG": "C.UTF-8"}) as instance:
        load = "from link_peer.inbound import policy_file\nanswer = list(policy_file.load('policy.yaml').accounts)"
        assert instance.run(load) == list(policy["accounts"])


def test_a_plain_package_starts_with_the_clients_that_it_calls(plain: Path) -> None:
    """Each function, and each of the modules that are cut elsewhere: here they are those of the SDKs, to the byte.
    By the Python whose distributions it holds."""
    packaging.check_imports(plain, sys.executable)
    modules = [_module(name) for name in cut.CLIENTS]
    clients = [(module, client) for module, (client, _) in zip(modules, cut.CLIENTS.values(), strict=True)]
    with FunctionInstance(plain, sys.executable, {"LANG": "C.UTF-8"}) as instance:
        assert instance.run(CLIENTS.format(clients=clients)) == [client for _, client in clients]
    assert not is_cut(plain)
    for name, module in zip([*cut.CLIENTS, *cut.SWAPS], [*modules, *map(_module, cut.SWAPS)], strict=True):
        assert (plain / name).read_bytes() == Path(str(find_spec(module).origin)).read_bytes(), name  # type: ignore[union-attr]


def test_a_package_that_does_not_start_is_refused(package: Path, tmp_path: Path) -> None:
    """With what the runtime's Python said."""
    built = with_policy(package, tmp_path / "code", accounts(1))
    (built / "sweep.py").write_text("import no_such_module\n", encoding="utf-8")
    for stale in (built / "__pycache__").glob("sweep.*"):
        stale.unlink()
    with pytest.raises(packaging.PackageError, match=r"^sweep does not start in .*no_such_module"):
        packaging.check_imports(built, PYTHON)


def test_a_policy_that_the_package_lost_its_compiled_form_of_is_refused(package: Path, tmp_path: Path) -> None:
    """A cold start would load a YAML parser."""
    built = with_policy(package, tmp_path / "code", accounts(2))
    text = (built / "policy.yaml").read_text(encoding="utf-8")
    (built / "policy.yaml").write_text(json.dumps(json.loads(text), indent=1), encoding="utf-8")
    with pytest.raises(packaging.PackageError, match="parsed again"):
        packaging.check_imports(built, PYTHON)


@pytest.mark.http
@pytest.mark.skipif(not os.environ.get("LINK_PEER_PACKAGE"), reason="only a compiled package is measured")
@pytest.mark.skipif(not can_count(), reason="there is no valgrind here")
def test_a_cold_first_link_keeps_to_its_budget(cut_package: Path) -> None:
    """In millions, over TLS. Builds of Python differ, so the budget is that of a Python whose floor is the one in the
    file."""
    budget = BUDGET[runtime_in_use()]
    bench = Bench(Code(PYTHON, [str(cut_package)]))
    with CloudProcess() as cloud:
        floor = cold_start.count(bench, cloud, "floor", bench.floor())
        allowed = MARGIN * budget["cold first link"] * floor / budget["floor"]
        counts = [cold_start.count(bench, cloud, "auto_link", bench.ours)]
        if counts[0] > allowed:
            counts.append(cold_start.count(bench, cloud, "auto_link", bench.ours))
    print(f"cold first link: {counts} million instructions, floor {floor:.0f}")
    assert min(counts) <= allowed, (
        f"{counts} beside a floor of {floor:.0f}: if it is worth that, {budget} in budget.json"
    )
