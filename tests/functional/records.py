"""Checks every record that a test writes: no character that breaks a line, hides text or reverses it, and no
secret.

The characters are listed here from Unicode's own lists, independently of the code that escapes them.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from aliyun_local.api import Identity, Key, LogGroup, Role, SlsBackend

RAW = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Bidi_Control
    "\u00ad\u200b-\u200d\u2060-\u2064\ufeff"  # invisible
    "\u2028\u2029\ud800-\udfff]"
)

UNFILLED = re.compile(r"\{(link|action|region|instance|group)\}")
"""What stands for a link in the words of a denial, until it is recorded."""


class Watch:
    """What was written to any SLS, and the secrets that must not be in it: keys, session tokens, external ids."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        self.identities: list[Identity] = []
        self.sessions: list[Key] = []
        put, add_account, issue = SlsBackend.put, Identity.add_account, Identity.issue

        def watched_put(
            backend: SlsBackend, account: str, project: str, name: str, group: LogGroup, *arguments: Any
        ) -> None:
            self.texts += [text for record in group.records for pair in record.contents.items() for text in pair]
            put(backend, account, project, name, group, *arguments)

        def watched_account(identity: Identity, *arguments: Any) -> Any:
            if not any(identity is identity_seen for identity_seen in self.identities):
                self.identities.append(identity)
            return add_account(identity, *arguments)

        def watched_issue(identity: Identity, role: Role, *arguments: Any, **options: Any) -> Key:
            self.sessions.append(issue(identity, role, *arguments, **options))
            return self.sessions[-1]

        monkeypatch.setattr(SlsBackend, "put", watched_put)
        monkeypatch.setattr(Identity, "add_account", watched_account)
        monkeypatch.setattr(Identity, "issue", watched_issue)

    def secrets(self) -> set[str]:
        keys = [*self.sessions, *(key for identity in self.identities for key in identity.keys.values())]
        ids = {role.external_id for identity in self.identities for role in identity.roles.values()}
        return {*(key.secret for key in keys), *filter(None, (key.token for key in keys)), *filter(None, ids)}

    def check(self, log: str) -> None:
        """Raises AssertionError for the first text that breaks the promise; `log` is what was passed to Python's
        logging."""
        distinct_texts = dict.fromkeys(self.texts)  # most records have the same names, and many of the same values
        for text in distinct_texts:
            secret_match = RAW.search(text)
            assert secret_match is None, f"a record holds {secret_match[0]!a}: {text!a}"
            assert not UNFILLED.search(text), f"advice that names no link: {text!a}"
        written = "\n".join([*distinct_texts, log])
        assert not any(secret in written for secret in self.secrets()), "a secret is in a record or in the log"


def log_text(caplog: pytest.LogCaptureFixture) -> str:
    """What was logged during the test itself, tracebacks included (`caplog.text` is cleared at each phase)."""
    form = logging.Formatter().format
    return "\n".join(form(record) for record in caplog.get_records("call"))
