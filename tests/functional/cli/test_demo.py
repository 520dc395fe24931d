"""The demo, as `make run` runs it: real functions in worker processes, real SDKs, a real server on loopback."""

from __future__ import annotations

import re

import pytest
from link_peer_cli.demo import acts
from link_peer_cli.main import main

from tests.functional.command import Cli

pytestmark = pytest.mark.http


def test_every_check_of_the_demo_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the checks of every act. The record of the first link is that of the delivery which opened it."""
    with pytest.raises(SystemExit) as ended:
        main(["demo"])
    text = capsys.readouterr().out
    passed = {line.removeprefix("  ✓ ") for line in text.splitlines() if line.startswith("  ✓ ")}
    assert ended.value.code == 0
    assert {"no instance reaches another", "both groups have their rule", "the rule is back"} <= passed
    assert f"\n{text.count('  ✓ ')} checks passed" in text
    assert re.search(r"adds the rules:\n  audit: applied\n", text)


def test_a_failed_check_fails_the_demo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the tag opens another port than the one probed: exit code 1, and the failed check."""
    monkeypatch.setattr(acts, "PORT", 22)
    code, [report] = Cli(capsys).json("demo")
    assert code == 1
    assert report["problem"] == "app-2 reaches db-1: expected 'ping 22', found 'ping'"
    assert [check["good"] for check in report["checks"]][-2:] == [True, False]
