"""A release: what `.ci/release` builds from a tag of a clone, and what installs of it. Publishing is the workflow's
alone."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from link_peer_deploy import archives

ROOT = Path(__file__).resolve().parents[2]
VERSION = "7.8.9"
WHEELS = {f"{name}-{VERSION}-py3-none-any.whl" for name in ("link_peer", "aliyun_local")}
CHANGELOGS = ("CHANGELOG.md", "local/CHANGELOG.md")


def git(clone: Path, *arguments: str) -> str:
    """What git prints in a clone."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=clone, check=True, capture_output=True, text=True).stdout  # noqa: S603


def write_version(clone: Path) -> None:
    """What a person changes to release: VERSION, what later versions must read, the heading "Unreleased" of both
    changelogs."""
    (clone / "VERSION").write_text(f"{VERSION}\n", encoding="utf-8")
    (clone / f"tests/fixtures/releases/{VERSION}.json").touch()
    for name in CHANGELOGS:
        text = (clone / name).read_text(encoding="utf-8")
        (clone / name).write_text(text.replace("## [Unreleased]", f"## [{VERSION}] - 2027-01-02", 1), encoding="utf-8")


def commit(clone: Path, tag: str) -> None:
    """All files of a clone, under a tag."""
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "Release")
    git(clone, "tag", tag)


def tracked_names() -> list[str]:
    """The files of this repository as they are now, also those that are not committed."""
    names = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def clone_of_the_checkout(folder: Path, prefixes: tuple[str, ...] = ("",)) -> Path:
    """A repository with the files of this one as they are now, whose names begin so."""
    clone = folder / "clone"
    for name in filter(lambda name: name.startswith(prefixes), tracked_names()):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name, follow_symlinks=False)
    git(clone, "init", "--quiet")
    return clone


def run(clone: Path, tag: str, out: Path) -> subprocess.CompletedProcess[str]:
    """`.ci/release`, with the setuptools of this environment: no network."""
    command = [".ci/release", tag, str(out)]
    env = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(command, cwd=clone, env=env, check=False, capture_output=True, text=True)  # noqa: S603


def build_a_release(folder: Path) -> None:
    clone = clone_of_the_checkout(folder)
    write_version(clone)
    commit(clone, f"v{VERSION}")
    for name in ("release", "again"):
        (clone / "stray.py").write_text(name, encoding="utf-8")  # lies beside what the tag holds
        finished = run(clone, f"v{VERSION}", folder / name)
        assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module", name="release")
def _release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")  # stays where it is: its pins name the wheels by address
    build_a_release(folder)
    return folder / "release"


def test_a_release_is_the_same_bytes_wherever_it_is_built(release: Path) -> None:
    """Wheels of both projects in the one version, their pins, the sums of all, and the notes."""
    assert {path.name for path in release.iterdir()} == {
        *WHEELS,
        "requirements-build.txt",
        "requirements.txt",
        "SHA256SUMS",
        "notes.md",
    }
    sums = dict(reversed(line.split("  ")) for line in (release / "SHA256SUMS").read_text("utf-8").splitlines())
    assert sums.keys() == {*WHEELS, "requirements-build.txt", "requirements.txt"}
    assert {name: hashlib.sha256((release / name).read_bytes()).hexdigest() for name in sums} == sums
    for name in WHEELS:
        assert (release.parent / "again" / name).read_bytes() == (release / name).read_bytes()


def test_everything_that_a_release_installs_has_a_hash(release: Path) -> None:
    """Its own wheels by address, and each pin of the command line and the local cloud once."""
    text = (release / "requirements.txt").read_text(encoding="utf-8")
    own_pins, pins = re.findall(r"^(\S+) @ file://(\S+) --hash=sha256:([0-9a-f]{64})$", text, re.MULTILINE), text
    assert {(name, Path(path)) for name, path, _ in own_pins} == {
        (name.partition("-")[0], release / name) for name in WHEELS
    }
    pins = re.sub(r"^\S+ @ .*\n", "", text, flags=re.MULTILINE)
    for runtime in ("python3.10", "python3.12"):
        listed = archives.pins(pins, runtime)
        checkout = {
            pin
            for name in ("requirements.txt", "requirements-check.txt", "requirements-cli.txt")
            for pin in archives.pins((ROOT / name).read_text(encoding="utf-8"), runtime)
        }
        assert all(pin.digests for pin in listed)
        assert (len(listed), set(listed)) == (len(checkout), checkout)


def test_a_release_runs_from_its_files(release: Path, tmp_path: Path) -> None:
    """pip installs both wheels from the addresses in requirements.txt by their hashes, and refuses one that was
    exchanged."""
    own_lines = [line for line in (release / "requirements.txt").read_text("utf-8").splitlines() if " @ " in line]
    listed = tmp_path / "own.txt"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--require-hashes"]
    listed.write_text("\n".join(own_lines), encoding="utf-8")
    target = tmp_path / "installed"
    subprocess.run([*pip, "--target", str(target), "--requirement", str(listed)], check=True, capture_output=True)  # noqa: S603
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(target), "LANG": "C.UTF-8"}
    for module, name in (("link_peer_cli", "link-peer"), ("aliyun_local", "aliyun-local")):
        command = [sys.executable, "-m", module, "--version"]
        printed = subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout  # noqa: S603
        assert printed.splitlines()[0] == f"{name} {VERSION}"
    listed.write_text(re.sub(r"[0-9a-f]{64}$", "0" * 64, own_lines[0]), encoding="utf-8")
    command = [*pip, "--target", str(tmp_path / "no"), "--requirement", str(listed)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert finished.returncode
    assert "DO NOT MATCH THE HASHES" in finished.stderr


def test_the_notes_are_what_the_changelogs_say(release: Path) -> None:
    """The sections of the version, how to install, and the sums."""
    notes = (release / "notes.md").read_text(encoding="utf-8")
    for name in CHANGELOGS:
        section = (ROOT / name).read_text(encoding="utf-8").partition("## [Unreleased]\n")[2].partition("\n## [")[0]
        assert section.strip() in notes
    assert "## [" not in notes
    assert all(line.split("  ")[0] in notes for line in (release / "SHA256SUMS").read_text("utf-8").splitlines())


def test_a_release_that_is_not_what_its_tag_says_is_refused(tmp_path: Path) -> None:
    """A missing tag, one of another version, formats that no later version would be tested with, a changelog whose
    lines nobody put under the version; nothing is built."""
    clone = clone_of_the_checkout(tmp_path, (".ci/", "tests/fixtures/releases/", *CHANGELOGS))

    def refusal(name: str, text: str, tag: str = f"v{VERSION}") -> str:
        (clone / name).write_text(text, encoding="utf-8")
        commit(clone, f"v{VERSION}")
        finished = run(clone, tag, tmp_path / "out")
        git(clone, "tag", "--delete", f"v{VERSION}")
        assert finished.returncode == 1
        return finished.stderr.removeprefix("release: ")

    formats = f"tests/fixtures/releases/{VERSION}.json"
    assert refusal("VERSION", "7.8.8\n") == f"VERSION is 7.8.8, and the tag v{VERSION}\n"
    assert refusal("VERSION", f"{VERSION}\n") == f"tests/fixtures/releases has no file of {VERSION}\n"
    assert refusal(formats, "{}", tag="v3") == "there is no tag v3\n"
    assert refusal(CHANGELOGS[0], "## [Unreleased]\n\n- a line\n") == "CHANGELOG.md has lines under Unreleased\n"
    for text in ("## [Unreleased]\n\n## [0.1.0] - 2026-11-25\n\n- a line\n", f"## [{VERSION}] - 2027-01-02\n\n"):
        assert refusal(CHANGELOGS[0], text) == f"CHANGELOG.md has no section of {VERSION}, or an empty one\n"
    assert not (tmp_path / "out").exists()


def test_the_workflow_publishes_what_was_tested_and_built_once() -> None:
    """From a tag; no secret; only what publishes may write, and it builds nothing and has no checkout."""
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    assert yaml.safe_load(text)[True] == {"push": {"tags": ["v*"]}}
    assert "secrets." not in text
    assert [(name, job.get("needs")) for name, job in jobs.items()] == [
        ("test", None),
        ("build", "test"),
        ("publish", "build"),
        ("index", "publish"),
    ]
    assert jobs["test"] == {"uses": "./.github/workflows/ci.yml"}
    writers = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}
    assert writers == {
        "publish": {"attestations": "write", "contents": "write", "id-token": "write"},
        "index": {"id-token": "write"},
    }
    assert text.count(".ci/release ") == 1
    for name in writers:
        assert not [step for step in jobs[name]["steps"] if "checkout" in step.get("uses", "")]
