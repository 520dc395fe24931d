"""Every code block of every page is run by a test or listed with a reason, and every command in the text exists."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import hcl2
import pytest
import typer
import yaml
from aliyun_local.api import compile_query
from aliyun_local.api import index as sls_index
from link_peer.domain import marker
from link_peer_cli.main import all_commands, app

from tests.snippets import ELSEWHERE, LISTED, PLAIN, ROOT, SESSIONS, Block, blocks, entry, how, pages

BLOCKS = blocks()
COMMANDS = dict(all_commands())
STATIC = [block for block in BLOCKS if how(block) == "static"]
PLACEHOLDER = re.compile(r"^([<…$]|[A-Z][A-Z _-]*$)")  # <uid>, …, $B, NAME
TO_COME = re.compile(r"…$")


def test_every_block_is_run_or_listed() -> None:
    """`python -m tests.snippets` counts them."""
    assert [str(block) for block in BLOCKS if not how(block)] == []
    assert len(BLOCKS) > 100


def test_every_entry_is_about_one_block() -> None:
    """No exception is left of a block that has changed, and none covers two."""
    keys = [key for block in BLOCKS for table in (LISTED, ELSEWHERE) if (key := entry(block, dict(table)))]
    assert sorted(keys) == sorted([*LISTED, *ELSEWHERE])
    assert {block.page for block in BLOCKS if how(block) == "session"} == set(SESSIONS)


@pytest.mark.parametrize(("file", "name"), sorted(set(ELSEWHERE.values())))
def test_the_test_that_runs_a_block_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("block", STATIC, ids=str)
def test_a_block_of_data_is_valid(block: Block) -> None:
    """It parses as what it is. What it means is for test_docs.py and test_howto.py."""
    if block.language == "json":
        text = block.text if block.text.startswith("{") else f"{{{block.text}}}"  # a member of an object
        assert json.loads(text)
    elif block.language == "yaml":
        assert yaml.safe_load(block.text)
    elif block.language == "hcl":
        assert hcl2.loads(block.text)
    elif block.text.startswith(PLAIN[0]):
        assert marker.parse(block.text.strip()) is not None
    elif block.text.startswith(PLAIN[1:]):
        text = (ROOT / "deploy/sls-index.json").read_text("utf-8")
        compile_query(block.text.partition("|")[0].strip(), sls_index.parse(json.loads(text)))
    else:
        assert block.language == "mermaid"


def test_no_sample_ends_soon() -> None:
    """An end on a page, in a help text, in the policy or in a sample event is decades ahead."""
    files = [
        *pages(),
        ROOT / "deploy/init/policy.yaml",
        *(ROOT / "events").glob("*.json"),
        *(ROOT / "cli").rglob("*.py"),
    ]
    end = re.compile(r"""(?:~|until[\\="'` :]+|ends: |end +=|such as )(20\d\d)-?\d\d-?\d\dT""")
    years_by_file = {str(path.relative_to(ROOT)): end.findall(path.read_text("utf-8")) for path in files}
    assert len([year for years in years_by_file.values() for year in years]) > 15
    assert {name: years for name, years in years_by_file.items() if any(year < "2090" for year in years)} == {}


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) of every `link-peer …` in code marks, and in every shell block."""
    for path in pages():
        name, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
        if name == "CHANGELOG.md":
            continue  # what was
        prose = re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
        yield from ((name, command) for command in re.findall(r"`(link-peer [^`]+)`", prose))
    for block in BLOCKS:
        if block.language == "sh":
            for line in re.sub(r" \\\n\s*", " ", block.text).splitlines():
                yield from (
                    (block.page, command) for command in re.findall(r"^link-peer .*$", re.split(r" && | \| ", line)[0])
                )


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_a_command_in_the_text_exists(page: str, command: str) -> None:
    """With all its options. What it names may be a placeholder, and `…` stands for anything."""
    words, name = shlex.split(command, comments=True)[1:], ""
    options = {"-h", "--help"} | {name for option in typer.main.get_command(app).params for name in option.opts}
    while words:
        word = words.pop(0)
        if name not in COMMANDS and not word.startswith("-"):
            if PLACEHOLDER.match(word) or word in {"profile", "prod"}:
                continue
            name = f"{name} {word}".strip()
            assert any(f"{command} ".startswith(f"{name} ") for command in COMMANDS), f"{page}: no command {name!r}"
            params = COMMANDS[name].params if name in COMMANDS else []
            options |= {name for option in params for name in (*option.opts, *option.secondary_opts)}
        elif word.startswith("-") and not TO_COME.search(word):
            assert word.partition("=")[0] in options, f"{page}: {command}: no option {word}"
