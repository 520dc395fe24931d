"""The demo, as `make run` plays it: real functions in worker processes, real SDKs, a real server on loopback."""

from __future__ import annotations

import json

import pytest
from link_peer_cli.demo import tags as story_tags
from link_peer_cli.main import main

pytestmark = pytest.mark.http


def test_the_demo_finds_everything_as_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    """Every check of the story passes, and the command ends with 0."""
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (ended.value.code, told["problem"]) == (0, "")
    assert all(check["good"] for check in told["checks"])
    assert {"nobody reaches anybody", "both sides hold their rule", "the rule is back"} <= {
        check["check"] for check in told["checks"]
    }


def test_a_cloud_that_shows_something_else_fails_the_demo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tag opens another port than the one that is tried: exit code 1, and the check that was not met."""
    monkeypatch.setattr(story_tags, "PORT", 22)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert told["problem"] == "app-2 reaches db-1: expected 'ping 22', the cloud shows 'ping'"
    assert [check["good"] for check in told["checks"]][-2:] == [True, False]
