"""Sweeps of all accounts in one delivery, and in one delivery for each account: the same tests are about both."""

from __future__ import annotations

import pytest

from tests.functional.lab import Lab

BOTH = ("drift", "guards", "links", "states")
"""The modules whose tests are run in both ways, but for those that are about the summary of all accounts."""
SUMMARIES = {
    "test_a_refusal_to_remove_managed_tags_is_asked_for_once_and_told",
    "test_a_requests_link_expires_at_its_end",
    "test_a_tag_for_a_deleted_peer_group_is_denied",
    "test_removals_over_the_cap_are_held_and_reported",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests about rules twice."""
    if metafunc.module.__name__.rpartition(".test_")[2] in BOTH and metafunc.function.__name__ not in SUMMARIES:
        metafunc.parametrize("by_account", ["one delivery", "by account"], indirect=True)


@pytest.fixture(name="by_account", autouse=True)
def _by_account(lab: Lab, request: pytest.FixtureRequest) -> None:
    """Has `lab.sweep()` deliver one message for each account, in the second way."""
    lab.by_account = getattr(request, "param", "") == "by account"
