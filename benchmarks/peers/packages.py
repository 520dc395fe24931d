"""Builds what the peers are run from: the SDKs as `pip install --target` leaves them, without bytecode and with it.

Without bytecode is what an upload makes of bytecode that names file times: the upload changes the times.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from link_peer_deploy.archives import pins
from link_peer_deploy.runtime_python import runtime_in_use

ROOT = Path(__file__).resolve().parents[2]
FLOOR = Path(__file__).with_name("floor.py")
PLAIN = Path(__file__).with_name("plain_handler.py")


SDKS = ("alibabacloud-ecs20140526", "alibabacloud-tea-openapi", "aliyun-log-python-sdk")


def plain(python: str, *, bytecode: bool) -> str:
    """The folder of the plain handler, built once for each version of the requirements: its SDKs with all that they
    require, in the versions that the project pins."""
    files = [(ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements-cli.txt")]
    requirements = "\n".join(pin.requirement for text in files for pin in pins(text, runtime_in_use()))
    folder = ROOT / "build" / ("plain-bytecode" if bytecode else "plain")
    marker_file = folder / "requirements.txt"
    if not marker_file.exists() or marker_file.read_text(encoding="utf-8") != requirements:
        shutil.rmtree(folder, ignore_errors=True)
        constraints = folder.with_suffix(".constraints.txt")
        constraints.write_text(requirements, encoding="utf-8")
        options = [
            "-qq",
            "--root-user-action=ignore",
            "--disable-pip-version-check",
            "--constraint",
            str(constraints),
            "--no-compile",
            "--target",
            str(folder),
        ]
        subprocess.run([python, "-m", "pip", "install", *options, *SDKS], check=True)
        if bytecode:
            compiled = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
            subprocess.run([python, *compiled], check=True)
        marker_file.write_text(requirements, encoding="utf-8")
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
