"""What becomes of a link's packets, for the records of one delivery: from what was read, and little more."""

from __future__ import annotations

from collections import ChainMap
from typing import cast

import msgspec

from link_peer.domain.model import Party, Rule
from link_peer.engine.read.reader import Reader
from link_peer.planning import effect_text
from link_peer.planning.decision import Decision
from link_peer.planning.effect import Effect, of_link
from link_peer.runtime.ports import Record


class Effects:
    """Judges the decisions of one delivery. What it reads is kept apart from what decisions are made from."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._aside: dict[Party, tuple[Rule, ...]] = {}
        self._asked: set[Party] = set()

    def fields(self, decision: Decision, *, changed: bool = False) -> Record:
        """The fields `effect` and `effect_detail` of a record. Where the decision has changed something, groups whose rules
        the answer depends on are read, each at most once; nothing is read for a decision that changed nothing."""
        effect = self._of(decision)
        if changed and effect.unread - self._asked:
            for group in sorted(effect.unread - self._asked):
                rules = self._reader.rules_aside(group)
                if rules is not None:
                    self._aside[group] = rules
            self._asked |= effect.unread
            effect = self._of(decision)
        return {"effect": effect.word, "effect_detail": effect_text.detail(effect)}

    def _of(self, decision: Decision) -> Effect:
        known = self._reader.now_known()
        if self._aside:
            rules = ChainMap(cast("dict[Party, tuple[Rule, ...]]", known.rules), self._aside)
            known = msgspec.structs.replace(known, rules=rules)
        return of_link(known, decision.link, decision.instance)
