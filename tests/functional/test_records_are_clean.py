"""The check of all records in this folder's tests finds what it looks for."""

from __future__ import annotations

import logging

import pytest

from tests.functional.lab import PEER, Lab
from tests.functional.records import Watch, log_text


def test_the_watch_reads_every_record(lab: Lab, record_watch: Watch) -> None:
    """It knows the secrets too, including a role session's token."""
    a, b = lab.pair()
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert {a.id, b.id} <= set(record_watch.texts)
    assert any(key.token for key in record_watch.sessions)
    assert {key.token for key in record_watch.sessions} <= record_watch.secrets()
    assert lab.cloud.identity.accounts[PEER].access_key_secret in record_watch.secrets()


@pytest.mark.parametrize("raw", ["\x00", "\n", "\x1b[2J", "\x85", "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff"])
def test_a_raw_character_is_found(record_watch: Watch, raw: str) -> None:
    """An unescaped character in any record makes its test fail."""
    record_watch.texts.append(f"sg-{raw}db")
    with pytest.raises(AssertionError, match="a record holds"):
        record_watch.check("")
    record_watch.texts.clear()


def test_a_secret_in_a_record_is_found(lab: Lab, record_watch: Watch) -> None:
    record_watch.texts.append(f"signed with {lab.cloud.identity.accounts[PEER].access_key_secret}.")
    with pytest.raises(AssertionError, match="a secret is in"):
        record_watch.check("")
    record_watch.texts.clear()


def test_a_secret_in_a_logged_traceback_is_found(
    lab: Lab, record_watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    """Python's logging goes to the function's log, which more people may read."""
    try:
        raise ValueError(lab.cloud.identity.accounts[PEER].access_key_secret)
    except ValueError:
        logging.getLogger("link-peer").exception("no luck")
    with pytest.raises(AssertionError, match="a secret is in"):
        record_watch.check(log_text(caplog))
    caplog.clear()
