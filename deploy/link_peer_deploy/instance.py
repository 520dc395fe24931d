"""Runs a package: one process of the runtime's Python with the package folder alone on its path, as an instance of a
function.

`link-peer package` starts each function of a new package so, and the tests in tests/infrastructure/package make
deliveries in it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

FUNCTIONS = ("auto_link", "cross_account", "sweep")

# Runs in the package's Python. Answers go to a descriptor of their own, because an SDK may print.
_DRIVER = """
import json, os, sys
folder, answers = sys.argv[1], os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
os.chdir(folder)
sys.path.insert(0, folder)
for line in sys.stdin:
    try:
        space = {}
        exec(json.loads(line), space)
        answer = {"answer": space["answer"]}
    except Exception as error:
        names = [kind.__name__ for kind in type(error).__mro__]
        answer = {"error": str(error), "kinds": names}
    print(json.dumps(answer), file=answers, flush=True)
"""


class HandlerError(Exception):
    """What code in a package raised. `kinds` are the names of its class and their bases."""

    def __init__(self, text: str, kinds: list[str]) -> None:
        super().__init__(f"{kinds[0]}: {text}")
        self.kinds = kinds


class FunctionInstance:
    """A function instance: one process with the package folder alone on its path, for as long as it is open."""

    def __init__(self, package: Path, python: str, env: Mapping[str, str]) -> None:
        """`env` is the function's whole environment."""
        command = [python, "-I", "-S", "-B", "-c", _DRIVER, str(package.resolve())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(env), text=True
        )

    def run(self, code: str) -> Any:
        """The value that code, run in the instance, gives the name `answer`. Raises HandlerError."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise HandlerError("the process has ended", ["Ended"])
        answer = json.loads(line)
        if "error" in answer:
            raise HandlerError(answer["error"], answer["kinds"])
        return answer["answer"]

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def __enter__(self) -> FunctionInstance:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
