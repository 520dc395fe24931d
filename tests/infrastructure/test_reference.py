"""docs/reference.md and the table of reasons in docs/requests.md are generated from the code, and leave nothing out."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from link_peer.domain.tags import TAGS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(name="generator", scope="module")
def _generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs/generate_reference.py"))


@pytest.mark.parametrize(
    ("path", "made_by"),
    [
        ("PAGE", "reference"),
        ("REQUESTS", "requests"),  # the table of reasons
        ("TAGS_PAGE", "tags_page"),
        ("PLAN_SCHEMA", "plan_schema"),
        ("JSON_PAGE", "json_page"),  # what commands print
        ("ANSWERS_SCHEMA", "answers_schema"),
    ],
)
def test_what_is_generated_is_current(generator: dict[str, Any], path: str, made_by: str) -> None:
    assert generator[path].read_text("utf-8") == generator[made_by](), "run: python docs/generate_reference.py"


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_first_page_shows_each_tag_that_people_write(page: str) -> None:
    """In both languages, by an example."""
    text = (ROOT / page).read_text("utf-8")
    for tag in TAGS:
        example = f"| `{tag.key.format(prefix='link', deployment='', home='')}="
        assert (example in text) is (tag.writer == "person"), tag.name


def test_every_setting_has_a_meaning(generator: dict[str, Any]) -> None:
    """Each variable in the sources, and no other."""
    assert generator["settings_read"]() == generator["SETTINGS"].keys()


def test_every_searchable_field_has_a_meaning(generator: dict[str, Any]) -> None:
    page = generator["reference"]()
    index = json.loads((ROOT / "deploy/sls-index.json").read_text("utf-8"))["keys"]
    assert {name for name in index if f"`{name}`" not in page} == set()


def test_every_option_is_explained(generator: dict[str, Any]) -> None:
    """No row of a command's table has an empty last cell."""
    commands = generator["reference"]().split("## Settings")[0]
    assert [line for line in commands.splitlines() if line.startswith("| `") and line.endswith("|  |")] == []
