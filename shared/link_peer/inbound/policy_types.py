"""The policy file as types of msgspec: its keys, the form of each value, and the JSON Schema, which is made from them.

What relates two values, or calculates, is checked afterwards, by `policy_text`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from link_peer.domain.policy import Limits
from link_peer.domain.tags import SET_KEYS

_UID = "[0-9]{15,20}"
_PARTY = f"(sg|i)-[0-9a-z]{{1,60}}@{_UID}"
_PORT = "(icmp|(tcp|udp)/[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?)"
_NAME = "[a-z][a-z0-9-]{0,31}"
_ENTRY = {"source": "from", "target": "to"}  # fields by the key that they have in the file
_SECRET = "A-Z a-z 0-9 _ + = , . @ : / -"  # noqa: S105 - the characters of one


def _form(pattern: str, must: str, description: str | None = None) -> Meta:
    """The form of a string: a pattern for all of it, and how an error says it."""
    return Meta(pattern=f"^{pattern}$", extra={"must": f"be {must}"}, description=description)


def _not_empty(must: str, description: str | None = None) -> Meta:
    """A list or mapping that may be left out, but not empty."""
    return Meta(min_length=1, extra={"must": f"not be empty: {must}"}, description=description)


def _says(description: str) -> Meta:
    return Meta(description=description)


Uid: TypeAlias = Annotated[str, _form(_UID, "an account uid: 15 to 20 digits, in quotes")]
Party: TypeAlias = Annotated[str, _form(_PARTY, "sg-…@<uid> or i-…@<uid>", "A group or an instance, with @<uid>.")]
_NO_NAME = "(?!sg-|i-)(?!(tcp|udp|icmp|icmpv6|gre|all)$)"
_END = rf"((\*|(sg|i)-[0-9a-z]{{1,60}})@{_UID}|set:{_NAME}|{_NO_NAME}{_NAME})"
_END_SAID = "A group, an instance or * of an account, with @<uid>, set:<name>, or a name of names."
End: TypeAlias = Annotated[str, _form(_END, "*@<uid>, sg-…@<uid>, i-…@<uid>, set:<name> or a name", _END_SAID)]
_NAME_SAID = "1 to 32 characters of a-z, 0-9 and hyphen, begin with a letter and not with sg- or i-, and be no protocol"
Name: TypeAlias = Annotated[str, _form(f"{_NO_NAME}{_NAME}", _NAME_SAID)]
_PORT_SAID = "tcp/3306, tcp/8000-8010, udp/53 or icmp"
Port: TypeAlias = Annotated[str, _form(_PORT, _PORT_SAID, f"{_PORT_SAID}.")]
_NAMED_PARTY = rf"({_PARTY}|(?!sg-|i-){_NAME})"
NamedParty: TypeAlias = Annotated[
    str,
    _form(_NAMED_PARTY, "sg-…@<uid>, i-…@<uid> or a name", "A group or an instance, with @<uid>, or a name of names."),
]
_LINK = rf"{_NAMED_PARTY}(:{_PORT}(\+{_PORT})*)?"
_LINK_SAID = "sg-…@<uid>, i-…@<uid> or a name, alone or with :tcp/3306+icmp"
Link: TypeAlias = Annotated[str, _form(_LINK, _LINK_SAID, "A party and ports; without ports, the mutual link.")]
_INSTANT = "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,18})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
Instant: TypeAlias = Annotated[str, _form(_INSTANT, "an RFC 3339 instant with a zone, like 2027-01-01T00:00:00Z")]
_NETWORK = r"([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}"
Network: TypeAlias = Annotated[str, _form(_NETWORK, "an IPv4 network like 10.20.0.0/16, without host bits")]
Ports: TypeAlias = Annotated[list[Port], _not_empty("list the ports, or leave `ports` out for all traffic")]
_ROLE, _ROLE_SAID = f"acs:ram::{_UID}:role/[A-Za-z0-9._-]{{1,64}}", "acs:ram::<uid>:role/<name>"
Role: TypeAlias = Annotated[str, _form(_ROLE, _ROLE_SAID, "The role that link-peer assumes there.")]
_ID, _ID_SAID = "[A-Za-z0-9_+=,.@:/-]{2,1224}", f"2 to 1224 characters of {_SECRET}"  # [doc AssumeRole]
ExternalId: TypeAlias = Annotated[str, _form(_ID, _ID_SAID, "The one that the role's trust policy requires.")]
_NO_RANGES = "list the networks, or leave `ranges` out to accept every private address"
_RANGES = _not_empty(_NO_RANGES, "Addresses of this account in rules are only from these networks.")
_QUEUE = "a queue name: 1 to 120 characters of A-Z a-z 0-9 and hyphen"  # [doc SMQ limits]
Queue: TypeAlias = Annotated[str, _form("[A-Za-z0-9-]{1,120}", _QUEUE, "The account's own queue.")]
_LOGSTORE = (
    "[a-z0-9][a-z0-9-]{1,61}[a-z0-9]/[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]"  # [doc SLS CreateProject, CreateLogStore]
)
_FLOW_LOGS = (
    "The logstore in this account to which its VPCs write flow logs: from it, `links` and `who` say what was used."
)
FlowLog: TypeAlias = Annotated[str, _form(_LOGSTORE, "<project>/<logstore> of the log service", _FLOW_LOGS)]
_KEY = "[A-Za-z0-9._:/=+,@-]{1,128}"  # RAM takes it as it is, without wildcards
TagKey: TypeAlias = Annotated[str, _form(_KEY, "a tag key: 1 to 128 characters of A-Z a-z 0-9 . _ : / = + , @ -")]
_TAGS = Meta(
    min_length=1,
    max_length=SET_KEYS,
    extra={"must": f"be 1 to {SET_KEYS} tags that its groups carry"},
    description=f"All of them. RAM denies these keys to link-peer's roles; at most {SET_KEYS} in all sets.",
)


_DISPLAYED = Meta(min_length=1, max_length=128, extra={"must": "be 1 to 128 characters"})


class AccountEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """An account. Home, where the functions run, has no role; each other one has a role and its external id."""

    name: Annotated[str, _DISPLAYED] | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET
    ranges: Annotated[list[Network], _RANGES] | UnsetType = UNSET
    queue: Queue | UnsetType = UNSET
    flowlog: FlowLog | UnsetType = UNSET


_ROLE_WITH_EXTERNAL_ID = Meta(
    extra_json_schema={"dependentRequired": {"role": ["external_id"], "external_id": ["role"]}}
)
Accounts: TypeAlias = Annotated[
    dict[Uid, Annotated[AccountEntry, _ROLE_WITH_EXTERNAL_ID]],
    _not_empty(
        "exactly one account, the home account, must have no role",
        "Only these accounts can be linked. Exactly one, home, has no role.",
    ),
]


class NeverEntry(Struct, frozen=True, forbid_unknown_fields=True, rename=_ENTRY):
    """A pair that is never opened, regardless of consent, in one direction. Without ports: nothing at all."""

    source: End
    target: End
    ports: Ports | UnsetType = UNSET


class AllowEntry(Struct, frozen=True, forbid_unknown_fields=True, rename=_ENTRY):
    """Consent without a tag, in one direction. Without ports: all traffic."""

    source: End
    target: End
    ports: Ports | UnsetType = UNSET
    until: Annotated[Instant, _says("The consent ends then.")] | UnsetType = UNSET


class SetEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """The security groups of an account that carry all of these tags."""

    account: Uid
    tags: Annotated[dict[TagKey, str], _TAGS]


class DenyEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Ports that are never opened, regardless of consent."""

    ports: list[Port]


class TestsEntry(Struct, frozen=True, forbid_unknown_fields=True, rename=_ENTRY):
    """Links from a party that must be allowed, and links that must not be."""

    source: NamedParty
    accept: list[Link] = []
    deny: list[Link] = []


_ACCEPT_OR_DENY = Meta(
    extra_json_schema={
        "anyOf": [{"required": [name], "properties": {name: {"minItems": 1}}} for name in ("accept", "deny")]
    }
)
_DEPLOYMENT = _form("[a-z0-9-]{1,32}", "1 to 32 characters of a-z, 0-9 and hyphen")
_PREFIX = _form("[a-z][a-z0-9]{0,15}", "1 to 16 characters of a-z and 0-9, beginning with a letter")
_PAUSED = Meta(extra={"must": "be true, false or opening"})


class PolicyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    deployment: Annotated[str, _DEPLOYMENT, _says("Part of every rule's marker. Do not change it while rules exist.")]
    accounts: Accounts
    tag_prefix: (
        Annotated[
            str, _PREFIX, _says("The first part of every tag key: LINK_PEER_TAG_PREFIX, which is link by default.")
        ]
        | UnsetType
    ) = UNSET
    accept_tags: Annotated[bool, _says("Whether tags of security groups count as consent.")] = True
    allow: Annotated[list[AllowEntry], _says("Reviewed pairs, one direction each: consent without a tag.")] = []
    deny: DenyEntry | UnsetType = UNSET
    limits: Limits = Limits()
    paused: Annotated[
        bool | Literal["opening"], _PAUSED, _says("true: change nothing. opening: open nothing, closing goes on.")
    ] = False
    tests: Annotated[
        list[Annotated[TestsEntry, _ACCEPT_OR_DENY]],
        _says("What this policy must allow and must not, checked before it is packaged."),
    ] = []
    never: Annotated[
        list[NeverEntry], _says("Pairs that are never opened, regardless of consent, one direction each.")
    ] = []
    sets: Annotated[
        dict[Name, SetEntry], _says("Groups of an account by their tags: set:<name> in allow and never.")
    ] = {}
    names: Annotated[
        dict[Name, Party], _says("Names of parties, for tags, requests, commands, and for allow, never and tests.")
    ] = {}
    mutual: Annotated[
        Literal["allow", "deny"],
        Meta(extra={"must": "be allow or deny"}),
        _says("deny: no link without ports is opened, regardless of consent, and those that stand are removed."),
    ] = "allow"
