"""A number of the platform stands in code with its source, and one on which documents disagree with both ends."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from link_peer.domain import platform_limits
from link_peer.domain.platform_limits import PlatformLimit
from link_peer_deploy.project import ROOT

SOURCE = re.compile(r"\[(doc|src|capture|run|SDK|PEP|undocumented)|\[its API")
ROOMS = [
    "shared/link_peer/alicloud",
    "deploy/link_peer_deploy",
    *(f"cli/link_peer_cli/{room}" for room in ("setup", "deployed", "consent", "audit")),
]
"""Where the code speaks to services: every number is the platform's, with a source, or one of these."""
OWN = {
    "alicloud/ecs.py": "FEW MAX_SPLITS",
    "alicloud/mns.py": "TIMEOUT_SECONDS",
    "alicloud/sdk.py": "CONNECT_TIMEOUT_MS READ_TIMEOUT_MS",
    "alicloud/sls.py": "TIMEOUT_SECONDS CLIENTS",
    "alicloud/sts.py": "MARGIN_SECONDS TRUST_WAITS",
    "audit/consented.py": "LATE_SECONDS",
    "audit/log.py": "POLL_SECONDS BATCH KEPT_SECONDS SKEW_SECONDS FOLLOW_SECONDS LATE_SECONDS LONGEST_WAIT",
    "audit/received.py": "EXACT_SECONDS",
    "audit/trail.py": "MOST_PAGES DAY MARGIN_SECONDS THROTTLED_ATTEMPTS",
    "audit/trail_consent.py": "JUDGED_SECONDS",
    "audit/trail_join.py": "LOG_SECONDS",
    "audit/trail_log.py": "LONGEST_SECONDS SKEW_SECONDS",
    "audit/verify.py": "THREADS",
    "deployed/functions.py": "NEIGHBOUR_SECONDS",
    "deployed/policy.py": "SECONDS",
    "link_peer_deploy/bundle.py": "SIZE MARSHAL",
    "link_peer_deploy/description.py": "HIDDEN_SECONDS",
    "link_peer_deploy/packaging.py": "MAX_ZIP MAX_UNPACKED EPOCH",
    "setup/engine.py": "WAITS",
    "setup/in_use.py": "SECONDS THREADS",
    "setup/prefixes.py": "MOST SECONDS",
    "setup/undo.py": "LONGEST_DEFAULT",
}
"""Choices of ours: waits, threads, how much is shown."""
BOUND = re.compile(
    r"\b(RAM|ECS|STS|SLS|MNS|SMQ|EventBridge|Function Compute|ActionTrail)\b[^.]*\b(allows|refuses|keeps|takes)\b"
)
"""What says that a service sets a bound."""


def numbers(path: Path) -> Iterator[tuple[str, str]]:
    """The (name, text around it) of each constant of a module that is a number."""
    text = path.read_text(encoding="utf-8")
    lines, body = text.splitlines(), ast.parse(text).body
    for statement, following in itertools.zip_longest(body, body[1:]):
        if not isinstance(statement, ast.Assign):
            continue
        parts = list(ast.walk(statement.value))
        values = [part.value for part in parts if isinstance(part, ast.Constant)]
        plain = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Tuple, ast.Name, ast.operator, ast.unaryop, ast.expr_context)
        if not values or not all(type(value) in (int, float) for value in values):
            continue
        if not all(isinstance(part, plain) for part in parts):
            continue
        around = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
        for line in reversed(lines[: statement.lineno - 1]):
            if not line.startswith("#"):
                break
            around += line
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            around += str(following.value.value)
        for target in statement.targets:
            for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(name, ast.Name) and name.id.isupper():
                    yield name.id, around


def unsourced(folder: str) -> set[tuple[str, str, str]]:
    """The (path, name, text around it) of the numbers without a source."""
    return {
        (path.relative_to(ROOT).as_posix(), name, around)
        for path in (ROOT / folder).rglob("*.py")
        for name, around in numbers(path)
        if not SOURCE.search(around)
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_number_where_services_are_spoken_to_has_its_source(room: str) -> None:
    """Or is a choice of ours, of which none is listed that is not there."""
    unsourced_names = {("/".join(path.split("/")[-2:]), name) for path, name, _ in unsourced(room)}
    folder = room.rpartition("/")[2]
    expected_names = {
        (path, name) for path, names in OWN.items() if path.startswith(f"{folder}/") for name in names.split()
    }
    assert unsourced_names == expected_names


def test_a_comment_that_names_the_bound_of_a_service_names_its_source() -> None:
    """In every room."""
    unsourced_comments = {
        (path, name)
        for room in ("shared", "cli", "deploy")
        for path, name, text in unsourced(room)
        if BOUND.search(text)
    }
    assert unsourced_comments == set()


LIMITS = {name: value for name, value in vars(platform_limits).items() if isinstance(value, PlatformLimit)}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_has_two_ends_and_a_source_for_each(name: str) -> None:
    """One source is enough where both ends are the same number."""
    limit = LIMITS[name]
    assert 0 < limit.low <= limit.high
    assert len(limit.sources) >= (2 if limit.low < limit.high else 1)
    assert [limit.is_exceeded(limit.high), limit.is_exceeded(limit.high + 1)] == [False, True]
    assert [limit.is_in_doubt(limit.low), limit.is_in_doubt(limit.high)] == [False, limit.low < limit.high]
