"""The code blocks of all pages, and how each is checked. `python -m tests.snippets` counts them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
NOT_PAGES = {".venv", "build", "node_modules", ".git", "link_peer.egg-info"}

# The shell blocks of these pages are run, each page's in order and in one shell, on a local cloud of this world.
DEPLOYED = str(ROOT / "tests/functional/cli/deployed.yaml")
SESSIONS = {
    "README.md": DEPLOYED,
    "docs/chat.md": "shop",
    "docs/deploy.md": DEPLOYED,
    "docs/local.md": "cross-account",
    "docs/onboarding.md": "cross-account",
    "docs/requests.md": "cross-account",
}

# What another test runs: the page, how the block begins, and the test's file and name.
ELSEWHERE = {
    ("docs/api.md", "from link_peer_cli import"): (
        "tests/functional/test_api.py",
        "test_the_example_asks_for_a_link_that_then_stands",
    ),
    ("docs/api.md", "import json"): (
        "tests/functional/test_api.py",
        "test_a_message_that_is_posted_by_the_sdk_alone_is_a_request",
    ),
    ("docs/api.md", "const MNSClient"): (
        "tests/infrastructure/deploy/test_cli.py",
        "test_the_program_posts_a_request",
    ),
    ("docs/audit.md", "from aliyun.log.consumer"): (
        "tests/infrastructure/test_docs.py",
        "test_the_shipper_snippet_runs",
    ),
    ("docs/local.md", "from aliyun_local.api import"): (
        "tests/infrastructure/test_docs.py",
        "test_the_in_process_snippet_runs",
    ),
    ("docs/tags.md", "party  = "): ("tests/infrastructure/test_docs.py", "test_the_example_consents_are_valid"),
}

# What no test runs, with the reason.
LISTED = {
    ("docs/api.md", "link-peer request link"): "ids of no world; docs/requests.md has the command, which is run",
    ("README.md", "make run"): "make targets; .ci/run and the tests themselves run them",
    ("CONTRIBUTING.md", "make setup"): "make targets; .ci/run runs them, test_docs.py compares the names",
    ("CONTRIBUTING.md", ".venv/bin/pytest tests/unit"): "the tests themselves; test_docs.py compares the names",
    (
        "docs/howto/close-everything.md",
        "$ link-peer package && s deploy",
    ): "needs an account; test-package and test-deploy",
    ("docs/howto/review-in-a-pull-request.md", "$ git show"): "needs a repository; test_plan.py compares two files",
    ("deploy/init/README.md", "npm install"): "the commands of README.md, which test_pages.py runs",
    (
        "deploy/init/README.md",
        "export ${exported}",
    ): "a template; test_init_check.py fills it in, README.md is run",
    ("docs/performance.md", "USD of one call"): "a formula",
    (
        "docs/verify-on-cloud.md",
        "python3 ../link-peer/deploy/first_evening.py",
    ): "a VPC of an account; test_first_evening.py runs it",
    (
        "docs/releases.md",
        "make -C link-peer install",
    ): "needs the package registry; .ci/test-wheel installs and runs it",
    (
        "docs/reference.md",
        "link-peer links | cut",
    ): "needs jq; test_piped.py and test_json.py check what they are given",
    ("local/README.md", "pip install ./local"): "needs the package registry; .ci/test-local installs and runs it",
    ("local/README.md", "from alibabacloud_ecs"): "needs a server; test_readme.py runs it",
    ("local/README.md", "import pytest"): "a fixture; test_readme.py of the local cloud runs it",
    ("local/README.md", "from aliyun_local.api import"): "a function; test_readme.py of the local cloud runs it",
    ("local/README.md", "fault() {"): "needs a port; test_readme.py of the local cloud posts the same",
    ("local/README.md", "fault '{"): "needs a port; test_readme.py of the local cloud posts the same",
    ("local/README.md", "curl http"): "needs a port; test_wire_admin.py of the local cloud asks the same",
    ("local/conformance/README.md", "aliyun ecs TagResources"): "for a real account, with ids of its own",
    ("local/conformance/README.md", "aliyun-selftest"): "for a real account; test_command.py asks all questions",
    ("docs/verify-on-cloud.md", "aliyun ecs AuthorizeSecurityGroup"): "for a real account, with its ids",
    ("docs/verify-on-cloud.md", "aliyun eventbridge QueryTracedEvents"): "for a real account, with its ids",
}

STATIC = {"hcl", "json", "yaml", "mermaid"}
PLAIN = ("link-peer/2 ", "record: ", "* | ")  # a marker, and queries of Log Service


class Block(Struct, frozen=True):
    """A fenced block: the page's path in the project, the line it starts on, its language and its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every Markdown file of the project."""
    paths = (path for path in ROOT.rglob("*.md") if not NOT_PAGES & set(path.relative_to(ROOT).parts))
    return sorted(paths)


def blocks() -> list[Block]:
    """Every fenced block of every page."""
    blocks = []
    for path in pages():
        text, name = path.read_text("utf-8"), str(path.relative_to(ROOT))
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            blocks.append(Block(name, line, match[2], re.sub(rf"(?m)^{match[1]}", "", match[3])))
    return blocks


def entry(block: Block, table: dict[tuple[str, str], object]) -> tuple[str, str] | None:
    """The key of a table that is about this block."""
    return next((key for key in table if key[0] == block.page and block.text.startswith(key[1])), None)


def how(block: Block) -> str:
    """How a block is checked: "as in English", "elsewhere", "listed", "howto", "session" or "static"; else ""."""
    if block.page == "README.zh-CN.md" or block.page.startswith("docs/zh/"):
        return "as in English"  # test_translations.py
    if entry(block, dict(LISTED)):
        return "listed"
    if entry(block, dict(ELSEWHERE)):
        return "elsewhere"
    if block.page.startswith(("docs/howto/", "docs/first-hour.md")) or (
        block.page == "docs/auditor.md" and block.language
    ):
        return "howto"  # test_howto.py
    if block.language == "sh":
        return "session" if block.page in SESSIONS else ""  # test_pages.py
    return "static" if block.language in STATIC or block.text.startswith(PLAIN) else ""  # test_snippets.py


if __name__ == "__main__":
    counts = Counter(how(block) or "neither run nor listed" for block in blocks())
    run = sum(counts[kind] for kind in ("as in English", "elsewhere", "howto", "session", "static"))
    print(f"{counts.total()} blocks: {run} run, {counts['listed']} listed")
    print(*(f"  {kind}: {count}" for kind, count in sorted(counts.items())), sep="\n")
