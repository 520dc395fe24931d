"""docs/: what the pages show is what the code takes: links, requests, tags, reasons, queries, environment, commands."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml
from link_peer.domain.errors import BadInput
from link_peer.domain.tags import accepts, bad_accepts, parse_port, peers
from link_peer.inbound import policy_file as policy
from link_peer.inbound import requests
from link_peer_local import world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.faults import KINDS
from link_peer_local.sls import index as sls_index
from link_peer_local.sls.query import compile_query

from tests.functional.lab import HOME, REGION, Lab

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
AUDIT_INDEX = sls_index.parse(json.loads((ROOT / "deploy/sls-index.json").read_text(encoding="utf-8")))
CONTRACT_REASONS = """
    no-consent not-allowed bad-tag bad-request bad-event expired paused unknown-account no-access peer-not-found
    instance-gone no-private-ip same-group different-region different-vpc classic-network advanced-group managed-group
    quota removals-held human-rule
"""


@pytest.fixture(name="lab")
def _lab(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    return Lab(local_cloud, monkeypatch, tmp_path)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^\s*```{language}\n(.*?)^\s*```$", page(name), re.DOTALL | re.MULTILINE)


def column(text: str, heading: str) -> list[list[str]]:
    """The cells of each row of the table whose head starts with `heading`, code marks included."""
    table = text[text.index(heading) :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a page that exists, and a heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        other = (path.parent / name) if name else path
        assert other.exists(), target
        assert not anchor or anchor in anchors(other.read_text(encoding="utf-8")), target


def test_the_request_of_the_page_is_one() -> None:
    """It decodes with every field."""
    [text] = blocks("requests.md", "json")
    now = datetime(2026, 11, 25, 7, 0, tzinfo=timezone.utc).timestamp()
    request = requests.decode(text, region=REGION, now=now)
    assert set(json.loads(text)) == set(json.loads(requests.encode(request)))


def test_every_reason_is_explained_once() -> None:
    """All of the contract's words, each with what to do."""
    rows = column(page("requests.md"), "| reason | means")
    assert sorted(row[0].strip("`") for row in rows) == sorted(CONTRACT_REASONS.split())
    assert all(row[2] for row in rows)


def test_the_peers_of_the_page_are_the_grammar() -> None:
    """Each example in "Asking" reads as a peer."""
    rows = column(page("tags.md"), "| `link-peer` on an instance of sg-app")
    assert len(rows) >= 6
    for row in rows:
        [(_, peer)] = peers({"link-peer": row[0].strip("`")}, HOME)
        assert not isinstance(peer, BadInput), row[0]


def test_the_consents_of_the_page_are_the_grammar() -> None:
    """Each example in "Accepting" reads as an accept entry; the counter-example does not read as a peer."""
    rows = column(page("tags.md"), "| `link-accept` on sg-db")
    tags = {f"link-accept.{number}": row[0].strip("`") for number, row in enumerate(rows)}
    assert len(accepts(tags, HOME)) == len(rows) >= 7
    assert bad_accepts(tags, HOME) == []
    assert isinstance(peers({"link-peer": "sg-db:"}, HOME)[0][1], BadInput)
    [ports] = re.findall(r"^port   = (.+)$", page("tags.md"), re.MULTILINE)
    for port in ports.split("|"):
        parse_port(port.strip())


def test_the_queries_of_the_pages_are_the_search_language() -> None:
    """They compile against the audit log's index, so each field they name can be searched."""
    rows = column(page("audit.md"), "| question | query")
    assert len(rows) >= 8
    for row in rows:
        compile_query(row[1].strip("`"), AUDIT_INDEX)


def test_the_alerts_of_the_page_are_those_that_are_created() -> None:
    rules = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text(encoding="utf-8"))
    rows = column(page("operations.md"), "| alert | goes off when")
    assert sorted(row[0].strip("`") for row in rows) == sorted(rule["name"] for rule in rules)


def test_the_fields_of_the_page_cover_the_index() -> None:
    """Whatever can be searched is explained."""
    named = set(re.findall(r"`([a-z_]+)`", page("audit.md")))
    assert AUDIT_INDEX.keys.keys() <= named


def test_the_exported_names_are_those_of_s_yaml_with_its_defaults() -> None:
    """Who copies the block gets what `s deploy` would take anyway."""
    exported = dict(re.findall(r"^export (LINK_PEER_\w+)=(\S+)", page("operations.md"), re.MULTILINE))
    read = dict(re.findall(r"env\('(LINK_PEER_\w+)', '([^']+)'\)", (ROOT / "s.yaml").read_text(encoding="utf-8")))
    assert exported == read


def test_what_the_files_leave_open_is_exported_by_a_page() -> None:
    """Every `${…}` of deploy/*.json, which envsubst would leave empty."""
    left = {
        name
        for path in (ROOT / "deploy").glob("*.json")
        for name in re.findall(r"\$\{(\w+)\}", path.read_text("utf-8"))
    }
    exports = re.findall(r"^export (.*)", page("operations.md") + page("onboarding.md"), re.MULTILINE)
    assert left <= {name for line in exports for name in re.findall(r"(\w+)=", line)}


def test_the_policy_entry_of_the_page_validates() -> None:
    """With an external id drawn as the page says."""
    [text] = blocks("onboarding.md", "yaml")
    read = policy.parse("deployment: prod\n" + text.replace("<EXTERNAL_ID>", "0f" * 16))
    assert read.home == HOME


def test_the_files_that_the_pages_name_exist() -> None:
    """deploy/…, local/worlds/…: nothing that has moved."""
    for path in PAGES:
        for name in re.findall(
            r"(?:deploy|local|functions|shared)/[\w./-]+\.(?:json|yaml|py)", path.read_text("utf-8")
        ):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_every_fault_is_listed() -> None:
    """The kinds of the page are those of the local cloud."""
    rows = column(page("local.md"), "| kind | the client sees")
    assert {row[0].strip("`") for row in rows} == {kind for kind in KINDS if not kind.endswith("-after")}


def test_every_world_is_listed() -> None:
    """The worlds of the page are the files in local/worlds/."""
    rows = column(page("local.md"), "| | |\n|---|---|\n| `two-accounts`")
    assert {re.sub(r"[` ]|\(default\)", "", row[0]) for row in rows} == {p.stem for p in world.WORLDS.glob("*.yaml")}


def test_dead_letters_are_shown_by_the_snippet_of_the_page(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints what lies there, plain or not, and says when nothing does."""
    [snippet] = blocks("operations.md", "python")
    monkeypatch.setenv("LINK_PEER_DEAD_LETTER_QUEUE", lab.cloud.world.dead_letter_queue)
    exec(snippet, {})  # noqa: S102  # the page's own text
    assert capsys.readouterr().out.strip() == "MessageNotExist"
    for letter in ('{"requestContext": {}}', base64.b64encode(b'{"specversion": "1.0"}').decode()):
        lab.cloud.mns.send(HOME, lab.cloud.world.dead_letter_queue, letter)
    exec(snippet, {})  # noqa: S102
    shown = capsys.readouterr().out
    assert '{"requestContext": {}}' in shown
    assert '{"specversion": "1.0"}' in shown
