"""The wheel: what `pip wheel` and `pipx install` get. That its commands run is tried by `make test-wheel`."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infrastructure.once import made_once

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"link_peer": "shared", "link_peer_cli": "cli", "link_peer_deploy": "deploy"}
BUILT_FROM = [
    *(ROOT / name for name in ("cli", "deploy", "functions", "shared")),
    *(path for path in ROOT.iterdir() if path.is_file()),
]


def copy_of_the_project(folder: Path) -> Path:
    """The files that a build reads, so that tests which run at once do not share a build folder."""
    for path in BUILT_FROM:
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(path, folder)
    return folder


def build(project: Path, *options: str) -> None:
    """Builds a project folder with the setuptools of this environment: no network."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options, str(project)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def wheel_of(project: Path) -> zipfile.ZipFile:
    """What `build` made of it."""
    [wheel] = (project / "dist").glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module", name="wheel")
def _wheel() -> zipfile.ZipFile:
    """Built from the sdist, as `build` does by default: a file that the sdist lacks is missing here."""
    return wheel_of(made_once("wheel", BUILT_FROM, lambda folder: build(copy_of_the_project(folder))))


def test_it_holds_the_three_packages_and_the_files_of_a_deployment(wheel: zipfile.ZipFile) -> None:
    """Byte for byte as in the checkout, and nothing else: modules, types, worlds and the page of the map; and s.yaml,
    the pins, the handlers, what `init` writes, and the files of deploy/. Not the policy: that is its user's. The
    metadata has the licence."""
    files = {
        str(path.relative_to(ROOT / source)): path
        for package, source in SOURCES.items()
        for path in (ROOT / source / package).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    patterns = (
        "s.yaml",
        "requirements.txt",
        "requirements-build.txt",
        "requirements-check.txt",
        "functions/*.py",
        "deploy/*.js*",
        "deploy/*.yaml",
        "deploy/init/*",
    )
    shipped = (path for pattern in patterns for path in ROOT.glob(pattern))
    files |= {f"link_peer_deploy/shipped/{path.relative_to(ROOT)}": path for path in shipped}
    assert {f"{package}/py.typed" for package in SOURCES} <= files.keys()
    info = f"link_peer-{version('link-peer')}.dist-info/"
    packed = {name: wheel.read(name) for name in wheel.namelist()}
    assert f"{info}licenses/LICENSE" in packed
    assert {name for name in packed if not name.startswith(info)} == files.keys()
    assert [name for name, path in files.items() if packed[name] != path.read_bytes()] == []


def test_a_module_that_was_renamed_is_not_packed_under_its_old_name(tmp_path: Path) -> None:
    """`pip wheel .` builds in the checkout, where an earlier build left its modules."""
    project = copy_of_the_project(tmp_path)
    stale_module = project / "build" / "lib" / "link_peer" / "renamed.py"
    stale_module.parent.mkdir(parents=True)
    stale_module.touch()
    build(project, "--wheel")
    assert "link_peer/renamed.py" not in wheel_of(project).namelist()


# what the metadata says it needs


def declared() -> dict[str, Requirement]:
    """The dependencies in the installed metadata, by their canonical names."""
    return {canonicalize_name(read.name): read for read in map(Requirement, requires("link-peer") or [])}


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level names that a module imports when it runs; those for a type checker alone are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        yield from imported(node)


def needed(*packages: str) -> set[str]:
    """The distributions that modules of these packages import."""
    names = {
        name
        for package in packages
        for path in (ROOT / SOURCES[package] / package).rglob("*.py")
        for name in imported(ast.parse(path.read_text("utf-8")))
    }
    distributions = packages_distributions()
    own_modules = {*SOURCES, *sys.stdlib_module_names, "aliyun_local"}
    return {canonicalize_name(distributions[name][0]) for name in names - own_modules}


def test_the_metadata_names_what_the_packages_import() -> None:
    """Nothing that is missing, and nothing that is not used. It does not name the local cloud, which no index has."""
    assert set(declared()) == needed(*SOURCES)


def test_the_tested_versions_are_in_the_declared_ranges() -> None:
    """Each range is bounded on both sides and holds the version that requirements*.txt pins."""
    for name, requirement in declared().items():
        assert {clause.operator for clause in requirement.specifier} == {">=", "<"}, name
        assert requirement.specifier.contains(version(name)), f"{requirement}: tested with {version(name)}"


# without the local cloud


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "local",
            "aliyun_local, which is not installed: in a clone of link-peer, run `make install`",
        ),
        (
            "demo",
            "aliyun_local, which is not installed: in a clone of link-peer, run `make install`",
        ),
        ("links", "LINK_PEER_REGION"),
    ],
)
def test_what_needs_the_local_cloud_says_so(command: str, says: str) -> None:
    """In one line it says how to install it; another command gets as far as its settings."""
    run = f"import sys; sys.modules.update(aliyun_local=None); from link_peer_cli.main import main; main([{command!r}])"
    env = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "LANG": "C.UTF-8"}
    result = subprocess.run([sys.executable, "-I", "-c", run], check=False, env=env, capture_output=True, text=True)  # noqa: S603
    assert result.returncode
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
