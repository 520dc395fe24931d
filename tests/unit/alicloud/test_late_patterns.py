"""Regular expressions of the SDKs' modules are compiled when they are used."""

from __future__ import annotations

import copy
import re

import pytest
from link_peer.alicloud import late_patterns

BODY = "A = re.compile('a(b+)', flags=re.I)\nB = re.compile('(')\ndef made(): return re.compile('x')\nC = made()"


def test_a_pattern_of_a_listed_module_is_compiled_by_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then not even a pattern that is wrong is noticed. It is as good as a pattern wherever one is expected. Any other is
    compiled at once: that of a function, and that of another module."""
    monkeypatch.setattr(re, "compile", re.compile)  # restored afterwards
    late_patterns.install()
    exec(BODY, made := {"__name__": "urllib3.util", "re": re})  # noqa: S102
    late: re.Pattern[str] = made["A"]  # type: ignore[assignment]
    assert (type(late), type(made["C"])) == (late_patterns._Late, re.Pattern)
    assert isinstance(late, re.Pattern)
    assert (re.sub(late, "-", "xABB"), re.compile(late), copy.deepcopy(late)) == ("x-", late, re.compile("a(b+)", re.I))
    assert (late.pattern, late.sub(r"\1", "ab"), late.groups) == ("a(b+)", "b", 1)
    with pytest.raises(re.error):
        made["B"].match("x")  # type: ignore[attr-defined]
    with pytest.raises(re.error):
        exec(BODY, {"__name__": "theirs.http", "re": re})  # noqa: S102
