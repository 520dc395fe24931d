"""README.md is in step with the code: what it lists, and its examples."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_mock import MockerFixture

from aliyun_local import api
from aliyun_local.api import KINDS, WORLDS, Knobs, LocalCloud, Server, VirtualClock, load, readings
from clients import HOME, key_of

PAGE = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def column(heading: str) -> list[list[str]]:
    """The cells of the table that begins with these words."""
    lines = PAGE[PAGE.index(heading) :].splitlines()[heading.count("\n") + (2 if heading.count("\n") == 0 else 0) :]
    rows = [line for line in lines[: lines.index("") if "" in lines else None] if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_each_kind_of_fault_is_listed() -> None:
    listed = [row[0].strip("` ") for row in column("| kind | the client sees")]
    assert sorted(listed) == sorted(kind for kind in KINDS if not kind.endswith("-after"))


def test_each_world_is_listed() -> None:
    listed = re.findall(
        r"^\| `([a-z-]+)`(?: \(default\))? \|", PAGE[PAGE.index("## Worlds") : PAGE.index("| key |")], re.MULTILINE
    )
    assert sorted(listed) == sorted(path.stem for path in WORLDS.glob("*.yaml"))


def test_each_key_of_a_world_is_listed() -> None:
    """Here, and in the docstring of the module that reads them."""
    source = (WORLDS.parent / "world.py").read_text("utf-8")
    read = set(re.findall(r'(?:text\[|text\.get\()"(\w+)"', source))
    assert {row[0].strip("` ") for row in column("| key | what it makes")} == read
    assert set(re.findall(r"^\| `(\w+)` \|", source, re.MULTILINE)) == read


def test_every_knob_is_listed() -> None:
    """Each with its default first."""
    listed = {name: row[1] for row in column("| knob | readings") for name in re.findall(r"`(\w+)`", row[0])}
    assert set(listed) == set(Knobs.__struct_fields__)
    for name, choices in readings().items():
        first = str(choices[0]).lower() if isinstance(choices[0], bool) else choices[0]
        assert listed[name].startswith(f"`{first}`"), name


def example(begin: str) -> str:
    [text] = [text for _, text in BLOCKS if text.startswith(begin)]
    return text


def test_the_client_of_the_page_works(server: Server) -> None:
    """At the server's address, with its keys."""
    keys = key_of(server.cloud)
    names: dict[str, Any] = {"key": keys.access_key_id, "secret": keys.secret}
    text = example("from alibabacloud_ecs").replace("127.0.0.1:8101", server.endpoint.removeprefix("http://"))
    exec(text, names)  # noqa: S102  # the page's own text
    from alibabacloud_ecs20140526.models import DescribeRegionsRequest

    assert names["ecs"].describe_regions(DescribeRegionsRequest()).status_code == 200


def test_the_fixture_of_the_page_works(mocker: MockerFixture) -> None:
    """Without the decorator, as pytest calls it."""
    names: dict[str, Any] = {}
    exec(example("import pytest").replace("@pytest.fixture\n", ""), names)  # noqa: S102  # the page's own text
    assert list(names["cloud"](mocker).identity.accounts) == [HOME]


def test_the_function_of_the_page_is_called(tmp_path: Path) -> None:
    """By its timer, once."""
    (tmp_path / "sweep.py").write_text(
        textwrap.dedent(
            """
            from pathlib import Path

            def handler(event, context):
                with Path(__file__).with_name("called").open("ab") as file:
                    file.write(event)
                return "done"
            """
        ),
        encoding="utf-8",
    )
    cloud = LocalCloud(VirtualClock())
    load(cloud)
    names: dict[str, Any] = {"cloud": cloud, "uid": HOME, "folder": tmp_path}
    exec(example("from aliyun_local.api import Function"), names)  # noqa: S102  # the page's own text
    names["triggers"].close()
    assert json.loads((tmp_path / "called").read_text("utf-8"))["payload"] == "x"


@pytest.mark.http
def test_the_faults_of_the_page_are_accepted(server: Server) -> None:
    """Each that it posts."""
    faults = [body for _, text in BLOCKS for body in re.findall(r"^fault '(.*?)'", text, re.MULTILINE)]
    assert len(faults) == 4
    for body in faults:
        answer = requests.post(f"{server.endpoint}/_local/faults", json=json.loads(body), timeout=60)
        assert answer.status_code == 200, answer.text


def test_the_entrance_names_all_that_it_offers() -> None:
    """Sorted, and nothing twice."""
    assert all(hasattr(api, name) for name in api.__all__)
    assert len(set(api.__all__)) == len(api.__all__)
