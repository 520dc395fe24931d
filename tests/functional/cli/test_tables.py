"""Tables at any width of the terminal."""

from __future__ import annotations

import pytest

from tests.functional.command import Cli
from tests.functional.lab import HOME, Lab


@pytest.mark.parametrize("columns", ["40", "80", "150", "400", ""])
def test_no_id_is_cut_or_wrapped(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """Ids with their account stay on one line at any width, also when the output is a pipe (no COLUMNS)."""
    monkeypatch.setenv("COLUMNS", columns) if columns else monkeypatch.delenv("COLUMNS", raising=False)
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    cli = Cli(capsys)
    assert cli("plan", instance.id) == 0
    assert (f"{app.id}@{HOME}" in cli.out, f"{db.id}@{HOME}" in cli.out, "…" in cli.out) == (True, True, False)
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    lab.tag(instance, link_peer=None)
    assert cli("stale") == 0
    assert lab.raw_rules(db)[0]["SecurityGroupRuleId"] in cli.out
