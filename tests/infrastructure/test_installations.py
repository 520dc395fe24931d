"""What the project tells people and machines to install: from a commit, or archives whose hashes it gives, never a name
alone."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from link_peer_deploy import archives
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


INSTALLER = re.compile(
    r"""\b(?:pip[x3]?|uv|poetry|pdm|conda)(?:[ ]+(?:tool|pip))?[ ]+(?:install|inject|run|upgrade|download|wheel|add)\b((?:[^`;&|#()\n]|(?<=\S)\#)*)
      | \buvx\b((?:[^`;&|#()\n]|(?<=\S)\#)*)
      | (?<![\w./-])(link[-_.]peer|aliyun[-_.]local)(?:\[[\w,-]+\])?[ ]*(?:[=~!]=|[<>]=)""",
    re.VERBOSE | re.IGNORECASE,
)
"""An installation, or a requirement, of one of the projects by its name."""
VALUED = {"-r", "--requirement", "-c", "--constraint", "--only-binary", "--python", "--target", "--prefix"}
"""Options with a value of their own."""
HASHED = re.compile(r"https://\S+#sha256=[0-9a-f]{64}|git\+https://\S+@[0-9a-f]{4,40}")
PATH = re.compile(r"\.?\.?/|~/|\.$|\.\[|\$|<|…")
"""A folder or a file, or a variable that a script has checked."""


def index_names(text: str) -> list[str]:
    """What a text installs by a name, which whoever registers it on an index gives another content; nothing where each
    archive must have a hash that the text or a file of ours gives."""
    names = []
    for match in INSTALLER.finditer(text):
        words = (match[1] or match[2] or match[3] or "").replace('"', " ").replace("'", " ").split()
        if "--require-hashes" in words or any(HASHED.fullmatch(word) for word in words):
            continue
        pairs = zip(["", *words], words, strict=False)
        names += [
            word for before, word in pairs if before not in VALUED and not word.startswith("-") and not PATH.match(word)
        ]
    return names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pip install link-peer", "link-peer"),
        ("pip3 install --quiet 'link-peer[local]'", "link-peer[local]"),
        ("python -m pip install -U link_peer", "link_peer"),
        ('pipx install --force "link-peer[selftest]"', "link-peer[selftest]"),
        ("`pipx upgrade link-peer`", "link-peer"),
        ("pipx run hashin NAME==VERSION", "hashin"),
        ("pip install pyyaml==6.0.4", "pyyaml==6.0.4"),
        ("pip install ./local pytest-mock", "pytest-mock"),
        ("uvx link-peer check", "link-peer"),
        ("uv tool install aliyun-local", "aliyun-local"),
        ("link-peer==0.1.0", "link-peer"),
        ("additional_dependencies: [aliyun_local >= 0.1]", "aliyun_local"),
        ("pipx install ./link-peer", ""),
        ("pip install './local[selftest]'", ""),
        ("pip install --require-hashes -r requirements.txt", ""),
        ("pip install --require-hashes link-peer", ""),
        ("pip install --no-deps --requirement requirements.txt", ""),
        ("pip install 'link-peer @ git+https://git.example/link-peer@0123'", ""),
        (f"pip install --no-deps https://git.example/link_peer-1-py3-none-any.whl#sha256={'0' * 64}", ""),
        (
            "pip install --no-deps https://git.example/link_peer-1-py3-none-any.whl",
            "https://git.example/link_peer-1-py3-none-any.whl",
        ),
        ("pipx uninstall link-peer", ""),
        ("npm install s, pipx, and link-peer init", ""),
        ("link-peer=sg-db:tcp/3306", ""),
    ],
)
def test_an_installation_from_an_index_is_recognized(text: str, name: str) -> None:
    assert index_names(text)[:1] == ([name] if name else [])


def tracked_texts() -> dict[str, str]:
    """The text files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    texts = {}
    for name in listed.stdout.split("\0"):
        with contextlib.suppress(UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            texts[name] = (ROOT / name).read_text(encoding="utf-8")
    return texts


def test_nothing_is_installed_by_a_name_without_a_hash() -> None:
    """Whoever registers a name on an index, or takes it over, would run on administrators' machines and in workflows:
    no page, message, workflow or requirement installs by one. Only tests and the changelog speak of it."""
    texts = {
        name: text for name, text in tracked_texts().items() if not name.startswith("tests/") and name != "CHANGELOG.md"
    }
    assert {"README.md", "action.yml", "deploy/init/workflow.yml", "cli/link_peer_cli/main.py"} <= texts.keys()
    assert {name: names for name, text in texts.items() if (names := index_names(text))} == {}


def test_every_file_that_an_installation_reads_has_hashes() -> None:
    """Those of the commands, and those of the tools that CI and contributors run: pip then takes no other archive."""
    names = [name for name in tracked_texts() if re.fullmatch(r"(.*/)?(requirements[\w-]*|provider)\.txt", name)]
    read_by_make = set(re.findall(r"--requirement (\S+\.txt)", read("Makefile")))
    assert read_by_make <= set(names)
    for name in names:
        pins = archives.pins(read(name), "python3.12")
        assert pins, name
        assert [str(pin) for pin in pins if not pin.digests] == [], name


def test_the_action_installs_what_the_check_imports_alone() -> None:
    """A check of one file needs no SDK: fewer than twenty archives, of them none that is built, and link-peer from its
    commit."""
    [script] = [
        step["run"] for step in yaml.safe_load(read("action.yml"))["runs"]["steps"] if "ACTION" in step.get("env", {})
    ]
    files = re.findall(r"\$ACTION/(requirements[\w-]*\.txt)", script)
    assert files == ["requirements-build.txt", "requirements-check.txt"]
    pins = {pin.name for name in files for pin in archives.pins(read(name), "python3.12")}
    assert len(pins) < 20
    assert not pins & archives.SOURCE_ONLY
    run = (
        "import sys, importlib.metadata as m; sys.argv[0] = 'link-peer'\n"
        "from link_peer_cli.main import main\n"
        "for words in (['check', 'policy.yaml'], ['plan', '--policy', 'policy.yaml', '--against', 'policy.yaml', '--markdown']):\n"
        "    try: main(words)\n"
        "    except SystemExit as end: assert not end.code, end.code\n"
        "owners = m.packages_distributions()\n"
        "print(*{d for name in list(sys.modules) for d in owners.get(name.partition('.')[0], [])}, file=sys.stderr)"
    )
    env = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "LANG": "C.UTF-8"}
    result = subprocess.run([sys.executable, "-c", run], cwd=ROOT, env=env, check=True, capture_output=True, text=True)  # noqa: S603
    assert {canonicalize_name(name) for name in result.stderr.split()} - {"link-peer", "aliyun-local"} <= pins


def test_a_pin_is_the_same_in_every_file() -> None:
    """What is deployed and what is installed beside it."""
    pins = {pin for path in ROOT.glob("requirements*.txt") for pin in archives.pins(read(path.name), "python3.12")}
    assert len(pins) == len({pin.name for pin in pins})
