"""Builds what the peers are run from: the SDKs as `pip install --target` leaves them, without bytecode and with it.

Without bytecode is what an upload makes of bytecode that names file times: the upload changes the times.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from deploy.package import pins

ROOT = Path(__file__).resolve().parents[2]
FLOOR = Path(__file__).with_name("floor.py")
PLAIN = Path(__file__).with_name("plain_handler.py")


def plain(python: str, *, bytecode: bool) -> str:
    """The folder of the plain handler, built once for each version of requirements.txt."""
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    folder = ROOT / "build" / ("plain-bytecode" if bytecode else "plain")
    done = folder / "requirements.txt"
    if not done.exists() or done.read_text(encoding="utf-8") != requirements:
        shutil.rmtree(folder, ignore_errors=True)
        options = [
            "-qq",
            "--root-user-action=ignore",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-compile",
            "--target",
            str(folder),
        ]
        subprocess.run([python, "-m", "pip", "install", *options, *pins(requirements)], check=True)
        if bytecode:
            compiled = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
            subprocess.run([python, *compiled], check=True)
        done.write_text(requirements, encoding="utf-8")
    shutil.copy(PLAIN, folder)
    if bytecode:
        subprocess.run([python, "-m", "compileall", "-q", str(folder / PLAIN.name)], check=True)
    return str(folder)


def floor() -> str:
    """The folder of the floor."""
    folder = ROOT / "build" / "floor"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(FLOOR, folder)
    return str(folder)
