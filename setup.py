"""What setuptools cannot take from pyproject.toml: the wheel carries the files of the checkout that make a deployment.

`link-peer init`, `setup`, `package` and `local` read s.yaml, the handlers, the pinned requirements and the files of
deploy/, so the wheel holds them as link_peer_deploy/shipped/. `link_peer_deploy.project` finds them there, or in the
checkout.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = (
    "s.yaml",
    "requirements.txt",
    "requirements-build.txt",
    "requirements-check.txt",
    "functions/*.py",
    "deploy/*.json",
    "deploy/*.yaml",
    "deploy/*.js",
    "deploy/init/*",
)


def shipped() -> list[Path]:
    """The files to carry along, relative to the checkout."""
    return sorted(path.relative_to(ROOT) for pattern in SHIPPED for path in ROOT.glob(pattern))


class BuildWithShipped(build_py):
    """Copies the packages, and the files of `shipped` beside them. An editable install reads both from the checkout."""

    def run(self) -> None:
        """Fill the build folder that the wheel is made of."""
        if self.editable_mode:
            super().run()
            return
        # setuptools never empties this folder: a module that was renamed since would be packed under both names
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        for path in shipped():
            target = Path(self.build_lib, "link_peer_deploy", "shipped", path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target)

    def get_source_files(self) -> list[str]:
        """What an sdist must hold."""
        own: list[str] = super().get_source_files()  # type: ignore[no-untyped-call]
        return [*own, *map(str, shipped())]


setup(cmdclass={"build_py": BuildWithShipped})
