"""The pages match the code and each other: requests, tags, queries, environment variables, snippets; what they name
exists; what is generated from the code is current, and leaves nothing out."""

from __future__ import annotations

import functools
import json
import queue
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun.log.consumer import LogHubConfig
from aliyun_local.api import LocalCloud, LogGroup, LogRecord, compile_query
from aliyun_local.api import index as sls_index
from link_peer.domain.errors import BadInput
from link_peer.domain.tags import accepts, bad_accepts, parse_port, peers, tag_keys
from link_peer.inbound import policy_file as policy
from link_peer.inbound import requests
from link_peer_cli.demo import world
from link_peer_cli.main import all_commands
from pytest_mock import MockerFixture

from tests import pages
from tests.functional.lab import HOME, REGION, Lab
from tests.snippets import SESSIONS

KEYS = tag_keys("link", "prod", HOME)

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
ALERTS = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text(encoding="utf-8"))
AUDIT_INDEX = sls_index.parse(json.loads((ROOT / "deploy/sls-index.json").read_text(encoding="utf-8")))


@pytest.fixture(name="lab")
def _lab(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    return Lab(local_cloud, monkeypatch, tmp_path)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^\s*```{language}\n(.*?)^\s*```$", page(name), re.DOTALL | re.MULTILINE)


def column(text: str, heading: str) -> list[list[str]]:
    """The cells of each row of the table whose header starts with `heading`, backticks included."""
    table = text[text.index(heading) :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


MOST_WORDS = 60_512
"""Some two thirds of what the English pages had when they were longest, 95,001."""


def test_the_pages_are_short() -> None:
    """What a table of the reference says is not said again: link to it."""
    assert sum(pages.words().values()) <= MOST_WORDS, "python -m tests.pages counts"


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_first_page_begins_with_what_link_peer_is_and_for_whom(name: str) -> None:
    """In three sentences, before any command."""
    _, _, beginning, *_ = (ROOT / name).read_text("utf-8").split("\n\n")
    assert beginning.startswith("link-peer ")
    assert len(re.findall(r"[.。](?= |$|(?<=。))", beginning)) == 3
    assert "```" not in beginning


NAV = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), yaml.BaseLoader)["nav"]  # noqa: S506  # it makes texts alone


def of_section(name: str) -> list[str]:
    """The pages of a section of the site's navigation, and of those in it."""
    [section] = [entry[name] for entry in NAV if isinstance(entry, dict) and name in entry]
    return re.findall(r"[\w/-]+\.md", json.dumps(section))


@pytest.mark.parametrize("name", pages.SHELVES)
def test_each_page_says_on_which_shelf_it_is(name: str) -> None:
    """Below its title, as the site's navigation has it; the Chinese page too. No page is on two shelves, and none on no
    shelf."""
    shelved = [
        path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if pages.shelf(path.read_text("utf-8")) == name
    ]
    sections = [page for page in of_section(name) if not page.startswith(("project/", "commands/"))]
    assert sorted(shelved) == sorted(sections)
    labelled = [
        path.relative_to(DOCS / "zh").as_posix()
        for path in (DOCS / "zh").rglob("*.md")
        if pages.shelf(path.read_text("utf-8")) == pages.SHELVES[name]
    ]
    assert sorted(labelled) == sorted(page for page in sections if (DOCS / "zh" / page).exists())


@pytest.mark.parametrize("name", ["docs/chat.md", "docs/onboarding.md", "docs/requests.md"])
def test_a_page_says_in_which_world_its_commands_run(name: str) -> None:
    """That in which a test runs them; on GitHub, too. The how-to pages are run in the world that they name
    (test_howto.py)."""
    texts = [(ROOT / path).read_text("utf-8") for path in (name, name.replace("docs/", "docs/zh/"))]
    assert [pages.world(text) for text in texts] == [SESSIONS[name]] * 2


def test_the_example_requests_are_valid() -> None:
    """They decode an hour before they expire, and the first shows every field there is."""
    text, look = blocks("requests.md", "json")
    now = datetime(2026, 11, 25, 7, 0, tzinfo=timezone.utc).timestamp()
    request = requests.decode(text, region=REGION, now=now)
    requests.decode(look, region=REGION, now=now)
    assert set(json.loads(text)) == set(json.loads(requests.encode(request)))


def test_the_example_peers_are_valid() -> None:
    """Each example in "Asking" parses as a peer."""
    rows = column(page("tags.md"), "| `link-peer` on an instance of sg-app")
    assert len(rows) >= 6
    for row in rows:
        [(_, peer)] = peers({"link-peer": row[0].strip("`")}, HOME, KEYS)
        assert not isinstance(peer, BadInput), row[0]


def test_the_example_consents_are_valid() -> None:
    """Each example in "Accepting" parses as an accept entry; the invalid example does not parse as a peer."""
    rows = column(page("tags.md"), "| `link-accept` on sg-db")
    tags = {f"link-accept.{number}": row[0].strip("`") for number, row in enumerate(rows, 2)}
    assert len(accepts(tags, HOME, KEYS)) == len(rows) >= 7
    assert bad_accepts(tags, HOME, KEYS) == []
    assert isinstance(peers({"link-peer": "sg-db:"}, HOME, KEYS)[0][1], BadInput)
    [ports] = re.findall(r"^port   = (.+)$", page("tags.md"), re.MULTILINE)
    for port in ports.split("|"):
        parse_port(port.strip())


def test_the_example_queries_are_valid() -> None:
    """They compile against the audit log's index, so every field they name is searchable."""
    rows = column(page("audit.md"), "| question | query")
    assert len(rows) >= 8
    for row in rows:
        compile_query(row[1].strip("`"), AUDIT_INDEX)


@pytest.mark.parametrize(
    ("name", "heading", "expected_names"),
    [
        ("operations.md", "| alert | fires when", {rule["name"] for rule in ALERTS}),
        ("local.md", "| world | what is in it |", {path.stem for path in world.WORLDS.glob("*.yaml")}),
    ],
    ids=["alerts", "worlds"],
)
def test_a_page_lists_each_that_there_is(name: str, heading: str, expected_names: set[str]) -> None:
    """The deployed alerts, and the world files of `link-peer local`; and no other."""
    listed = [re.sub(r"[` ]|\(default\)", "", row[0]) for row in column(page(name), heading)]
    assert sorted(listed) == sorted(expected_names)


@pytest.mark.parametrize(
    "page", ["README.md", "README.zh-CN.md", "docs/deploy.md", "docs/zh/deploy.md", "deploy/init/README.md"]
)
def test_the_first_setup_names_an_operator(page: str) -> None:
    """Else nobody is one: other accounts refuse whoever follows the steps."""
    steps = re.findall(r"^link-peer setup --notify .*", (ROOT / page).read_text("utf-8"), re.M)
    assert steps
    assert all(" --operators acs:ram::" in step for step in steps)


def test_the_settings_page_has_the_defaults_of_s_yaml() -> None:
    """Each variable that s.yaml reads has a row, with its default."""
    rows = dict(re.findall(r"^\| `(LINK_PEER_\w+)` \| (.*)$", page("deploy.md"), re.MULTILINE))
    read = dict(re.findall(r"env\('(LINK_PEER_\w+)', '([^']*)'\)", (ROOT / "s.yaml").read_text(encoding="utf-8")))
    assert read
    assert {name for name, default in read.items() if default not in rows.get(name, "")} == set()
    assert read.keys() <= rows.keys()


def test_the_readme_of_terraform_has_each_variable() -> None:
    folder = ROOT / "deploy" / "terraform"
    text = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.tf"))
    variable_names = re.findall(r"`(\w+)`", (folder / "README.md").read_text(encoding="utf-8"))
    assert set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE)) - {*variable_names} == set()


def test_envsubst_leaves_no_placeholder_empty() -> None:
    """Every `${…}` of a file that a page fills in with envsubst is exported by that page."""
    filled = 0
    for path in PAGES:
        text = path.read_text("utf-8")
        exported = {
            name for line in re.findall(r"^export (.*)", text, re.MULTILINE) for name in re.findall(r"(\w+)=", line)
        }
        for file in re.findall(r"envsubst < (deploy/[\w./-]+)", text):
            assert set(re.findall(r"\$\{(\w+)\}", (ROOT / file).read_text("utf-8"))) <= exported, file
            filled += 1
    assert filled


def test_the_example_policy_entry_is_valid() -> None:
    """With an external id generated as the page says."""
    [text] = blocks("onboarding.md", "yaml")
    read = policy.parse("deployment: prod\n" + text.replace("<EXTERNAL_ID>", "0f" * 16))
    assert read.home == HOME


@pytest.mark.parametrize("name", ["threat-model.md", "guarantees.md"])
def test_tests_named_by_a_page_exist(name: str) -> None:
    """A function, or a module."""
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "local/tests").rglob("test_*.py")]
    defined = {
        test_name
        for path in files
        for test_name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    test_names = set(re.findall(r"\b(test_\w+)", page(name)))
    assert test_names
    assert test_names - defined - {path.stem for path in files} == set()


def test_the_in_process_snippet_runs(mocker: MockerFixture) -> None:
    """The example of local.md, as a test would use it, loads the world that it names."""
    [snippet] = blocks("local.md", "python")
    names: dict[str, Any] = {"mocker": mocker}
    exec(snippet, names)  # noqa: S102  # the page's own text
    assert names["cloud"].world.home == HOME


def test_the_shipper_snippet_runs(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ships the record that is in the log. The consumer does one thing at a time, each two seconds after the
    other."""
    hurried = functools.partialmethod(LogHubConfig.__init__, data_fetch_interval=0.05)
    monkeypatch.setattr(LogHubConfig, "__init__", hurried)
    keys, audit = local_cloud.identity.accounts[HOME], local_cloud.world
    record = LogRecord(int(local_cloud.clock.now()), 0, {"record": "outcome"})
    local_cloud.sls.put(HOME, audit.audit_project, audit.audit_logstore, LogGroup((record,)))
    shipped: queue.Queue[dict[str, str]] = queue.Queue()
    names: dict[str, Any] = {
        "send": shipped.put,
        "endpoint": "cn-qingdao.log.aliyuncs.com",
        "key_id": keys.access_key_id,
        "key_secret": keys.access_key_secret,
        "project": audit.audit_project,
    }
    exec(blocks("audit.md", "python")[-1], names)  # noqa: S102  # the page's own text
    assert shipped.get(timeout=60) == {"record": "outcome"}
    names["worker"].shutdown()
    names["worker"].join(60)
    assert not names["worker"].is_alive()


# what is generated


@pytest.fixture(name="generator", scope="module")
def _generator() -> dict[str, Any]:
    return pages.generator()


def test_what_is_generated_is_current(generator: dict[str, Any]) -> None:
    generated = generator["generated"]()
    assert {path: path.read_text("utf-8") for path in generated} == generated, "run: python docs/generate_reference.py"


def test_each_command_is_on_one_page_of_the_site(generator: dict[str, Any]) -> None:
    """Each of `link-peer --help`. The pages are built with the site, and are not in the repository."""
    pages = generator["command_pages"]()
    command_names = re.findall(r"^## link-peer (.+)$", "".join(pages.values()), re.MULTILINE)
    assert sorted(command_names) == sorted(name for name, _ in all_commands())
    assert [page for page in pages if page.exists()] == []


def test_every_setting_has_a_meaning(generator: dict[str, Any]) -> None:
    """Each variable in the sources, and no other."""
    assert generator["settings_read"]() == generator["SETTINGS"].keys()


def test_every_option_is_explained(generator: dict[str, Any]) -> None:
    """No row of a command's table has an empty last cell."""
    commands = "".join(generator["command_pages"]().values())
    assert [line for line in commands.splitlines() if line.startswith("| `") and line.endswith("|  |")] == []


EVERY_PAGE = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "local").rglob("*.md")),
]
FOLDERS = r"\.ci|\.github|benchmarks|cli|deploy|docs|events|functions|local|shared|tests"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@functools.cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub generates for a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_actions_are_named_by_their_commits() -> None:
    """Who can move a tag of an action's repository cannot change what runs here, nor what `link-peer init` lets others
    run."""
    files = [ROOT / "action.yml", ROOT / "deploy" / "init" / "workflow.yml", *(ROOT / ".github").rglob("*.yml")]
    used = [action for path in files for action in re.findall(r"\buses: *(.+)", path.read_text(encoding="utf-8"))]
    assert used
    used = [action for action in used if not action.startswith("./.github/")]  # of the same commit
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


each_page = pytest.mark.parametrize("path", EVERY_PAGE, ids=lambda path: path.relative_to(ROOT).as_posix())


@each_page
def test_links_lead_to_a_page_and_a_heading(path: Path) -> None:
    """Every relative link of a page, with its anchor. Others are https."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked_page = path.parent / name if name else path
        assert linked_page.exists(), target
        assert not anchor or anchor in anchors(linked_page.resolve()), target


@each_page
def test_named_files_exist(path: Path) -> None:
    """Every path in code marks that starts with a folder of the project, and every file of one anywhere."""
    text = path.read_text(encoding="utf-8")
    paths = re.findall(rf"`((?:{FOLDERS})/(?!test_)[\w./-]*)`", text)
    paths += re.findall(r"(?<![\w/])(?:deploy|local|functions|shared)/[\w./-]+\.(?:json|yaml|py)\b", text)
    assert [name for name in paths if not (ROOT / name).exists()] == []


@each_page
def test_named_make_targets_exist(path: Path) -> None:
    """`make test` and the like, in code marks and in blocks."""
    targets = set(re.findall(r"^([a-z-]+):.*##", read("Makefile"), re.MULTILINE))
    assert (
        set(re.findall(r"(?:^|`)make (?:-C \S+ )?([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)) <= targets
    )


def test_what_must_be_executed_whole_is_there() -> None:
    """A module that is renamed would no longer be measured, and nothing would say so."""
    [patterns] = re.findall(r"^WHOLE := (.+)$", read("Makefile"), re.MULTILINE)
    assert [pattern for pattern in patterns.split(",") if len(list((ROOT / "shared").glob(pattern))) != 1] == []


def test_ci_runs_everything_on_every_supported_python() -> None:
    """.ci/run, on the versions that pyproject.toml names."""
    job = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["check"]
    assert job["strategy"]["matrix"]["python"] == re.findall(r"Python :: (3\.\d+)", read("pyproject.toml"))
    assert job["steps"][-1] == {"run": ".ci/run"}


PROMISES = re.compile(r"within (a few )?seconds|in seconds|几秒内|数秒内")
MEASURED = {
    "docs/local.md": "the local cloud",
    "docs/verify-on-cloud.md": "what is assumed, and asked",
    "cli/link_peer_cli/commands/local.py": "the local cloud",
}
"""Where a delay in seconds is one that was measured, or an open question, and of what."""


def test_no_text_promises_a_delay_that_nobody_has_measured() -> None:
    """Events of tags come by ActionTrail, whose delay on EventBridge is not known: a text gives the sweep's bound."""
    files = [*ROOT.glob("README*.md"), *DOCS.rglob("*.md"), *(ROOT / "cli/link_peer_cli").rglob("*.py")]
    promising = {path.relative_to(ROOT).as_posix() for path in files if PROMISES.search(path.read_text("utf-8"))}
    assert promising <= MEASURED.keys()


def test_every_attack_has_an_outcome_and_a_test_that_tries_it() -> None:
    """Of the attacks on keys, names and cost: prevented, found (by what, after how long), or accepted."""
    section = page("threat-model.md").partition("## Attacks on keys, names and cost")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if re.match(r"\| [0-9]", line)]
    assert [int(row[0]) for row in rows] == list(range(38, 38 + len(rows)))
    assert len(rows) > 9
    for _, attack, outcome, _, tests in rows:
        assert re.match(r"prevented|found: .*(minutes|when it is run)|accepted until", outcome), attack
        assert re.findall(r"`test_\w+`", tests), attack
