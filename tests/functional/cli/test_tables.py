"""Tables at any width of the terminal."""

from __future__ import annotations

import io

import pytest
from link_peer_cli.ui.tables import draw_table
from rich.cells import cell_len
from rich.console import Console

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


@pytest.mark.parametrize("width", range(20, 140, 7))
def test_a_sentence_beside_an_id_is_wrapped_in_its_place(width: int) -> None:
    """Whatever the width: no line is longer than the terminal, and every word of a cell is whole."""
    words = ["793E61B6-7CCA-4485-97BC-AA39E1BD2AA4", "sg-bp1shopapp000000000a@1000000000000001"]
    row = [
        words[0],
        f"{words[1]} tcp/22",
        "no record has its RequestId, and no intent names the change",
        "数据库 an instance",
    ]
    out = Console(file=io.StringIO(), width=width)
    draw_table(out, "title", ("request", "rule", "why", "who"), [row])
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert set(" ".join(row).split()) <= set(shown.split())
    if "─" in shown:
        assert max(map(cell_len, shown.splitlines())) <= width
