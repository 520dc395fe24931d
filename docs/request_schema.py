"""The messages on the queue as their decoder does not need them: what each field means, an example, and the form of
each text.

Names, types, lengths, and which fields are required, follow from the types of `link_peer.inbound.requests`, which also
checks the forms: its refusals say what is wrong. `generate_reference.py` writes docs/requests.md and the JSON Schema.
"""

from __future__ import annotations

from typing import Any

import msgspec
from link_peer.domain.marker import REQUEST_ID
from link_peer.domain.tags import ACCOUNT_UID, GROUP_ID, INSTANCE_ID, PARTY_NAME, PROTOCOLS
from link_peer.inbound.requests import MAX_ATTEMPT, REGION, RESERVED, LookMessage, PartyMessage, RequestMessage

_NUMBER = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_DATE = "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"


def _form(pattern: str) -> dict[str, Any]:
    """The form of a text."""
    return {"pattern": f"^{pattern}$"}


_PORT = _form(f"(icmp|(tcp|udp)/{_NUMBER}(-{_NUMBER})?)")
_INSTANT = _form(f"(?!0000)[0-9]{{4}}-{_DATE}[Tt]{_CLOCK}:[0-5][0-9]([.][0-9]{{1,18}})?([Zz]|[+-]{_CLOCK})")
_PARTY = {"properties": {"party": _form(f"({GROUP_ID.pattern}|{INSTANCE_ID.pattern})")}}
_NAME = {"properties": {"party": _form(f"(?!({'|'.join(sorted(PROTOCOLS))})$){PARTY_NAME.pattern}")}}
_PARTY_OR_NAME = {"if": {"required": ["account"]}, "then": _PARTY, "else": _NAME}


class MessageField(msgspec.Struct, frozen=True):
    """`meaning` is Markdown of the folder docs; fields that share one share a row of requests.md. `example` is the
    value in the request there, `form` what JSON Schema says beside the type."""

    meaning: str
    example: object = None
    form: dict[str, Any] = {}


_ENDS = (
    "`from` needs access to `to`: two groups or two instances, ids without `@`. Account uids are strings. A name of the policy file "
    'stands without `account`: `{"party": "ledger"}`'
)
_TEXT = "optional, up to 256 characters. Recorded as claimed; they are not verified and decide nothing"
_REGION = MessageField("the function's own region; a link cannot cross regions", "cn-qingdao", _form(REGION.pattern))
_EXPIRES_AT = MessageField(
    "required: when the *message* expires. At most 24 hours ahead; 5 minutes of clock skew are allowed in both directions. It is checked "
    "while the request is carried out, too: after it, nothing is opened, and an `unlink` that has closed nothing yet closes nothing",
    "2026-11-25T08:00:00Z",
    _INSTANT,
)
_ATTEMPT = MessageField(
    f"optional, 0 to {MAX_ATTEMPT}: how often link-peer has put the message back on its queue. Leave it out"
)
_VERSION = MessageField("`1`", 1)

FIELDS: dict[type, dict[str, MessageField]] = {
    RequestMessage: {
        "version": _VERSION,
        "request_id": MessageField(
            "1 to 48 characters of `A-Za-z0-9._-`. Recorded in the rule's description and in every audit record. Use one id per link. "
            "Another sender may use the same id: commands identify a request by its queue, its id and its link. `tag-…` is reserved for "
            "`sync`, `look-…` for `look`",
            "chg-1042",
            _form(f"(?!look-){REQUEST_ID.pattern}"),
        ),
        "action": MessageField("`link`, `unlink` or `sync`; `look` has [other fields](#look)", "link"),
        "region": _REGION,
        "from": MessageField(
            _ENDS, {"account": "1000000000000001", "party": "sg-bp1orders0000000000a"}, _PARTY_OR_NAME
        ),
        "to": MessageField(_ENDS, {"account": "1000000000000002", "party": "sg-bp1ledger0000000000b"}, _PARTY_OR_NAME),
        "ports": MessageField(
            "optional, written as in [tags](tags.md#syntax). Without ports, a `link` is mutual: all traffic, both ways",
            ["tcp/3306"],
            {"minItems": 1, "items": {"type": "string", **_PORT}},
        ),
        "expires_at": _EXPIRES_AT,
        "until": MessageField(
            "optional, `link` only: when the *link* ends. Where the policy file sets `limits.max_days`, it is required, and at most that many "
            "days ahead",
            "2099-12-31T00:00:00Z",
            _INSTANT,
        ),
        "reason": MessageField(_TEXT, "orders service reads the ledger"),
        "requested_by": MessageField(_TEXT, "team-orders"),
        "attempt": _ATTEMPT,
    },
    LookMessage: {
        "version": _VERSION,
        "request_id": MessageField("any id but `tag-…`", form=_form(f"(?!tag-){REQUEST_ID.pattern}")),
        "action": MessageField("`look`"),
        "region": _REGION,
        "party": MessageField("the party to look at", form={**_PARTY, "required": ["account"]}),
        "expires_at": _EXPIRES_AT,
        "attempt": _ATTEMPT,
    },
    PartyMessage: {
        "account": MessageField("its account, unless the policy names it", form=_form(ACCOUNT_UID.pattern)),
        "party": MessageField("an id without `@`, or a name of the policy"),
    },
}
"""Every field of a message, in the order of requests.md."""


def _kind(start: str) -> dict[str, Any]:
    return {"properties": {"party": {"pattern": f"^{start}"}}, "required": ["party"]}


RULES = (
    ({"request_id": {"pattern": "^tag-"}}, {"action": {"const": RESERVED["tag-"]}}),
    ({"action": {"const": "sync"}}, {"ports": False, "until": False}),
    ({"action": {"const": "unlink"}}, {"until": False}),
    ({"from": _kind("sg-")}, {"to": {"not": _kind("i-")}}),
    ({"from": _kind("i-")}, {"to": {"not": _kind("sg-")}}),
)
"""What holds of some fields of a request, if something holds of others."""


def request_schema() -> dict[str, Any]:
    """The JSON Schema of a message on the queue. Raises KeyError if a type has a field that `FIELDS` does not have."""
    forms, defs = msgspec.json.schema_components([RequestMessage, LookMessage], ref_template="#/$defs/{name}")
    for kind, fields in FIELDS.items():
        schema = defs[kind.__name__]
        derived = schema["properties"]
        schema["properties"] = {
            name: {"description": field.meaning, **derived.pop(name), **field.form} for name, field in fields.items()
        }
        if derived:
            raise KeyError(*derived)
    defs["RequestMessage"]["allOf"] = [
        {"if": {"properties": condition}, "then": {"properties": consequence}} for condition, consequence in RULES
    ]
    return {"oneOf": list(forms), "$defs": defs}
