"""Runs handlers in a process of their own, as Function Compute does: a command a line on stdin, an answer a line on
stdout.

    python -I -S -B benchmarks/worker.py <folder> …

Only these folders and the standard library can be imported, and bytecode is not written. A handler is imported by the
first command that names it. This file is what an instance runs beside the handler, so it imports next to nothing.
"""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace


def peak_mb() -> float:
    """The largest resident set of this process so far. Not ru_maxrss: that may be the parent's."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def run(command: dict[str, str]) -> dict[str, object]:
    """Run one handler; `cpu` counts seconds since the process began, `seconds` the time of this call."""
    context = SimpleNamespace(request_id="bench", function=SimpleNamespace(timeout=float(command["timeout"])))
    start = time.perf_counter()
    error, result = None, ""
    try:
        handler = __import__(command["module"]).handler
        result = handler(command["event"].encode(), context)
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    seconds = time.perf_counter() - start
    return {"cpu": time.process_time(), "seconds": seconds, "peak": peak_mb(), "error": error, "result": result}


def main() -> None:
    """Answer commands until stdin ends."""
    sys.path[:0] = sys.argv[1:]
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
