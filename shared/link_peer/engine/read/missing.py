"""Reads what a plan says is missing, each thing once."""

from __future__ import annotations

from collections.abc import Set

from link_peer.domain.model import Party
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read.fetch import Fetch
from link_peer.planning.decision import Missing, Question


class MissingReader:
    """Reads through one Fetch, for one plan after the other."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._probed: set[str] = set()
        self._confirmed: set[Party] = set()
        self._asked: set[Question] = set()
        self._shown: set[str] = set()

    def read(self, missing: Missing, snapshot: Snapshot) -> bool:
        """Reads what a plan for the snapshot misses; False when it misses nothing that was not read already."""
        read = self._read(missing, snapshot)
        if read:
            self._shown.clear()
        return read

    def emptied(self, accounts: Set[str]) -> bool:
        """Whether one of these accounts shows no instance any more, now that all is read: reads may have begun to be empty after
        the first ones. Nothing that it does not show is treated as gone then."""
        asked = accounts - self._shown
        self._shown |= asked
        return bool(asked and self._fetch.discard_emptied(asked))

    def _read(self, missing: Missing, snapshot: Snapshot) -> bool:
        fetch = self._fetch
        if missing.unread:
            fetch.parties({party for link in missing.unread for party in link.parties})
            askers = {link.asker for link in missing.unread} | {link.target for link in missing.unread if link.mutual}
            fetch.members(party for party in askers if party.is_group)
            if fetch.store.snapshot() != snapshot:
                return True
        if questions := missing.questions - self._asked:
            self._asked |= questions
            fetch.questions(questions)
            return True
        if unprobed := missing.doubted_accounts - self._probed:
            self._probed |= unprobed
            fetch.probe_liveness(unprobed)
            return True
        if unconfirmed := missing.unconfirmed - self._confirmed:
            self._confirmed |= unconfirmed
            fetch.confirm_absent(unconfirmed)
            return True
        return False
