"""What a command has changed so far. `ui.exits` says it if the command is stopped before its work is done."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from link_peer.domain.errors import CloudError

MAX_CHANGES = 20  # changes of each kind that a text names
WORDS = {"done": "done", "perhaps_done": "perhaps done", "not_done": "not done"}
_ACCOUNT = re.compile(r"@([0-9]{15,20})\b")  # of the group, which a text names last
AGAIN = "Run the same command again: it makes what is missing."


class Changes:
    """The changes of one command, each a text such as `create queue link-peer-requests`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: another command begins."""
        self._states: dict[str, str] = {}
        self.then = AGAIN
        """What a person does if the command is stopped after a change began."""
        self.notes: list[str] = []
        """What a person should know if the command fails, such as whose keys acted; without what was printed
        already."""

    def note(self, text: str) -> None:
        """Note what a person should know if the command fails; an empty text is none."""
        if text and text not in self.notes:
            self.notes.append(text)

    def printed(self, text: str) -> None:
        """A text was printed: no note that it contains is printed again."""
        self.notes = [note for note in self.notes if note not in text]

    def expect(self, whats: Iterable[str]) -> None:
        """Note changes that will be made."""
        self._states |= dict.fromkeys(whats, "not_done")

    @contextlib.contextmanager
    def making(self, *whats: str) -> Iterator[None]:
        """Note changes as made when the block ends. If it raises, they may have been made, unless the cloud refused
        them. None begins once a signal has stopped the command: raises KeyboardInterrupt."""
        if STOPPED.is_set():
            raise KeyboardInterrupt
        self._states |= dict.fromkeys(whats, "perhaps_done")
        try:
            yield
        except CloudError:
            self._states |= dict.fromkeys(whats, "not_done")
            raise
        self._states |= dict.fromkeys(whats, "done")

    def by_state(self) -> dict[str, list[str]]:
        """The changes by their state, a key of WORDS; empty if none was made or tried."""
        states = dict(self._states)  # threads may still be at their last change
        by_state = {state: [change for change, now in states.items() if now == state] for state in WORDS}
        return by_state if by_state["done"] or by_state["perhaps_done"] else {}


CHANGES = Changes()
"""Those of this process."""

STOPPED = threading.Event()
"""Set by a signal that stops the command: its threads, which no signal reaches, must not wait any longer."""


def lines(by_state: Mapping[str, list[str]]) -> Iterator[str]:
    """The changes as lines of text."""
    for state, whats in by_state.items():
        yield from (f"{WORDS[state]}: {change}" for change in whats[:MAX_CHANGES])
        if len(whats) > MAX_CHANGES:
            accounts = Counter(
                _ACCOUNT.findall(change)[-1] for change in whats[MAX_CHANGES:] if _ACCOUNT.search(change)
            )
            by = "".join(f", {number} in account {account}" for account, number in sorted(accounts.items()))
            yield f"{WORDS[state]}: {len(whats) - MAX_CHANGES} more{by}"
