"""What is wrong with the command line is said before what the environment lacks."""

from __future__ import annotations

import pytest

from tests.functional.command import Cli


@pytest.mark.parametrize(
    "command",
    [
        "request link --from sg-a --to db",
        "request open --from sg-a --to sg-b",
        "request link --from sg-a --to sg-b --until tomorrow",
        "request link --from sg-a --to sg-b --expires-in 25h",
        "audit --since yesterday",
        "audit --party db",
        "plan no-such-file.json",
        "plan README.md",
        "sweep --believe-empty b",
        "doctor b",
        "verify --from i-a --to i-b --port udp/53",
        "verify --from app --to i-b",
        "verify --from i-a --to db",
        "map --format png",
        "invoke link-peer-sweep no-such-file.json",
    ],
)
def test_usage_errors_come_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Exit code 2 where there are no settings and no keys at all, and the same command with them."""
    for name in ("LINK_PEER_REGION", "ALIBABA_CLOUD_ACCESS_KEY_ID", "FC_REGION"):
        monkeypatch.delenv(name, raising=False)
    cli = Cli(capsys)
    assert cli(*command.split()) == 2
    assert "LINK_PEER" not in cli.err
