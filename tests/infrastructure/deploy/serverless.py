"""The real Serverless Devs CLI, with a stub in place of the component fc3, against a local cloud.

The CLI finds the stub where it keeps the components that it has downloaded, in a home folder of the test, so nothing is
fetched. A preloaded module (offline.js) refuses and records whatever would reach the network all the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.infrastructure import fc3_props

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULES = ROOT / "build" / "serverless-devs" / "node_modules"
CLI = MODULES / ".bin" / "s"  # of the lock file


class Call(Struct):
    """What the component was given."""

    command: str
    args: list[str]
    account: str
    resource: str
    props: dict[str, Any]


class Serverless:
    """The CLI on a machine of its own, run in `folder`. It knows the given access keys: name -> (account, id,
    secret)."""

    def __init__(self, folder: Path, home: Path, endpoint: str, keys: Mapping[str, tuple[str, str, str]]) -> None:
        self.folder, self._home, self._endpoint = folder, home, endpoint
        folder.mkdir(parents=True, exist_ok=True)
        home.mkdir(parents=True)
        for name, (account, key, secret) in keys.items():
            # It asks STS whether the keys are valid, and keeps them if there is no answer.
            options = f"--AccountID {account} --AccessKeyID {key} --AccessKeySecret {secret}"
            code, text = self._run(f"config add -a {name} {options} -f", {})
            assert code == 0, text
        (home / "network").unlink(missing_ok=True)
        component = home / ".s" / "components" / "devsapp.cn" / "v3" / "fc3@0.1.22"
        shutil.copytree(HERE / "stub", component)
        (component / "schema.json").write_text(json.dumps(fc3_props.schema()), encoding="utf-8")
        (component / ".s.lock").write_text(json.dumps({"version": "0.1.22", "lastUpdateCheck": 0}), encoding="utf-8")

    def run(self, line: str, **env: str) -> tuple[int, str]:
        """The exit code and output of `s …`, which must not reach the network."""
        code, text = self._run(line, {"LINK_PEER_CLOUD": self._endpoint, **env})
        network = self._home / "network"
        assert not network.exists(), network.read_text(encoding="utf-8")
        return code, text

    def calls_of(self, line: str, **env: str) -> list[Call]:
        """What the component was given by a command that succeeds."""
        code, text = self.run(line, **env)
        assert code == 0, text
        return self.calls()

    def calls(self) -> list[Call]:
        """What the component was given since this was asked last."""
        path = self._home / "calls"
        if not path.exists():
            return []
        calls = [Call(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        path.unlink()
        return calls

    def _run(self, line: str, env: Mapping[str, str]) -> tuple[int, str]:
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "NODE_ENV": "test",  # without its background processes, for reports and updates
            "NODE_OPTIONS": f"--require {HERE / 'offline.js'}",
            "NODE_PATH": str(MODULES),  # where the stub finds the SDK
            "OFFLINE_RECORD": str(self._home / "network"),
            "STUB_RECORD": str(self._home / "calls"),
        }
        result = subprocess.run(  # noqa: S603
            [CLI, *line.split()],
            cwd=self.folder,
            env={**variables, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return result.returncode, result.stdout
