"""Both halves of a mutual link go at the event of an instance of either group."""

from __future__ import annotations

import pytest

from tests.functional.lab import Lab

pytestmark = [pytest.mark.usefixtures("living_lab"), pytest.mark.knobs(request_tags=True)]


@pytest.mark.parametrize("end", ["source", "target"])
def test_no_half_of_a_mutual_link_stays_that_the_policy_no_longer_allows(lab: Lab, end: str) -> None:
    source, target = lab.group("*"), lab.group("*")
    asking, other_instance = lab.instance(source, tags={"link-peer": target.id}), lab.instance(target)
    lab.sweep()
    assert len(lab.rules(source)) == len(lab.rules(target)) == 1
    lab.policy(mutual="deny")
    lab.auto_link(lab.event(asking if end == "source" else other_instance))
    assert lab.rules(source) == lab.rules(target) == []
