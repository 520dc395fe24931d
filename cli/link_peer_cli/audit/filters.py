"""The filters of `audit`: `outcome=denied`, `party=db@billing`, `actor=user/alice`, one for each field. Values of one
field are alternatives; all fields must match."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import msgspec
from link_peer.domain.errors import BadInput
from link_peer.domain.grouped import grouped
from link_peer.domain.reasons import REASONS
from link_peer.domain.record_fields import DECISION, NOT_INDEXED
from link_peer.domain.tags import quoted
from link_peer.runtime.ports import Record

from link_peer_cli.access.inputs import is_cloud_name, matching, ports_of, with_uid
from link_peer_cli.audit.log import condition, party_condition

SHORT = {"request": "request_id", "event": "event_id"}
FORMS = {
    "record": "intent|outcome|attempt|summary|observed",
    "outcome": "applied|unchanged|removed|denied|failed",
    "reason": "|".join(REASONS),
    "link": "[0-9a-f]{16}",
    "request_id": r"[A-Za-z0-9._-]{1,48}",
    "key": "[0-9a-f]{16}",
}
"""What the values of some fields look like."""
ANY_VALUE = r'[^"\\*?\s]{1,128}'
"""What has no meaning of its own in a query."""
FIELDS = {field.name for field in DECISION if field.index != NOT_INDEXED}


class Filters(msgspec.Struct, frozen=True):
    """`values` are those of the fields of a record; `parties` are on either side, `actors` caused it."""

    values: dict[str, list[str]]
    parties: list[str]
    actors: list[str]

    def __bool__(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.values or self.parties or self.actors)

    def query(self, parties: Iterable[str], *, all_kinds: bool) -> str:
        """The query for the records; `parties` are with ids. Without a filter that says which kind, decisions and
        changes of consent, or with `all_kinds` all of them."""
        kinds = [] if all_kinds or {"record", "key"} & self.values.keys() else ["outcome"]
        kinds += ["observed"] if kinds and not {"outcome", "reason", "link", "request_id"} & self.values.keys() else []
        terms = [_any_of([condition({"record": kind}) for kind in kinds])]
        terms += [_any_of([condition({name: value}) for value in values]) for name, values in self.values.items()]
        terms += [_any_of([party_condition(party, "party") for party in parties])]
        return " and ".join(filter(None, terms)) or "*"

    def is_by(self, record: Record) -> bool:
        """Whether one of the actors, or one whose ARN ends so, caused a record."""
        actor = record.get("actor", "")
        return not self.actors or any(actor == name or actor.endswith(f":{name}") for name in self.actors)


def filters_in(texts: Iterable[str]) -> Filters:
    """Parse `FIELD=VALUE` each. Raises BadInput."""
    pairs: list[tuple[str, str]] = []
    for text in texts:
        name, separator, value = text.partition("=")
        name = SHORT.get(name, name)
        if not (separator and value):
            raise BadInput("filter", f"{quoted(text)} is not FIELD=VALUE, such as outcome=denied")
        if name not in FIELDS | {"party", "actor"}:
            names = [*FIELDS, *SHORT, "party"]
            nearest = difflib.get_close_matches(name, names, n=1)
            hint = f": did you mean {nearest[0]}?" if nearest else f": one of {', '.join(sorted(names))}"
            raise BadInput("filter", f"{quoted(name)} is no field of a record{hint}")
        if name == "ports" and re.fullmatch("[0-9-]+", value):
            ports_of([value], name)  # a bare number: which protocol is not said
        if name not in ("party", "actor"):
            matching(value, name, FORMS.get(name, ANY_VALUE))
        pairs.append((name, value))
    values = grouped(pairs)
    parties = [with_uid(party, "party") for party in values.pop("party", [])]
    for party in parties:
        if not is_cloud_name(party):
            party_condition(party, "party")  # report an invalid value before a missing environment
    return Filters(values, parties, values.pop("actor", []))


def _any_of(terms: list[str]) -> str:
    return f"({' or '.join(terms)})" if len(terms) > 1 else "".join(terms)
