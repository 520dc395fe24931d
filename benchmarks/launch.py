"""Runs a command and prints what its process took as JSON, on the descriptor that the first argument names.

A process of its own does this, started without the rest of the benchmark: to the kernel, the peak memory of a command
includes that of the process which started it.
"""

import json
import os
import sys
import time

to, *command = sys.argv[1:]
start = time.perf_counter()
process = os.posix_spawnp(command[0], command, os.environ)
_, status, used = os.wait4(process, 0)
took = {
    "wall": time.perf_counter() - start,
    "cpu": used.ru_utime + used.ru_stime,
    "peak": used.ru_maxrss / (1_000_000 if sys.platform == "darwin" else 1000),
    "code": os.waitstatus_to_exitcode(status),
}
os.write(int(to), json.dumps(took).encode())
