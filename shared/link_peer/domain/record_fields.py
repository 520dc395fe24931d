"""Every field of the audit records: a row each, by what a record is about. From the rows follow the fields that a
record of a decision always has, the index of the log (deploy/sls-index.json), the tables of docs/audit.md and
docs/reference.md, and what `link-peer audit` prints.
"""

from __future__ import annotations

import msgspec

SCHEMA = "4"
"""The version of the contract that a record follows."""

# How SLS indexes a field.
WHOLE = "whole"  # as one value: a word, an id, an instant
LIST = "list"  # each value between commas
TEXT = "text"  # by word: a sentence, or JSON
LONG = "long"
DOUBLE = "double"
NOT_INDEXED = ""


class RecordField(msgspec.Struct, frozen=True):
    """A field of records."""

    name: str
    index: str  # how SLS indexes it
    since: int  # the first schema that has it
    meaning: str  # Markdown of the folder docs; empty where the row before explains this field, too
    empty: str | None = None  # the value where a decision does not know the field; None: its record lacks the field
    ocsf: str = "unmapped"  # the attributes of OCSF that take the value
    ocsf_note: str = ""  # how; fields with one note share a row
    column: bool = False  # `link-peer audit -o wide` has a column for it
    claimed: str = ""  # the field of a request that is recorded here as claimed


_PARTY = "a group or an instance"
_TARGET = "`resources[].type` is `security group` or `instance`, `role_id` 1 (Target)"
_KIND = "`outcome` and `link`, for example"
_LOG = '`metadata.product.name` is `link-peer`, `metadata.version` `1.8.0`, `metadata.profiles` `["cloud"]`'
_TRIGGER = "the one that is there"
_CLAIMED = "what a request says of itself, not verified"
_OBSERVED = (
    "of an observed record: `activity_id` is 3 (Update); it has no `from`, and `src_endpoint.uid` is the group in `to`"
)

DECISION = (
    RecordField(
        "time",
        WHOLE,
        3,
        "when the record was written, UTC, with milliseconds: `2026-11-25T08:00:00.123Z`",
        ocsf="time metadata.original_time",
        ocsf_note="`timestamp_t`, milliseconds since the epoch; `string_t`, the text as it is",
    ),
    RecordField(
        "schema",
        WHOLE,
        3,
        f"the version of this table: `{SCHEMA}`",
        ocsf="metadata.log_version",
        ocsf_note=_LOG,
    ),
    RecordField(
        "record",
        WHOLE,
        3,
        "the type of the record: see above",
        ocsf="metadata.event_code",
        ocsf_note=_KIND,
    ),
    RecordField(
        "actor",
        WHOLE,
        3,
        "who or what caused it: the principal that the event of a call names, like an ARN; the account whose own queue the message came "
        "through, else the name of the shared queue; the ARN of a person who ran a command; the event's type; else `timer`. `unknown` where "
        "nothing proves the queue, or an event has no known type. Of several events, the first three. It informs and decides nothing, and an "
        "event's is what the event says: [who consented](#who-consented)",
        empty="",
        ocsf="actor.user.uid",
        ocsf_note="a principal, a queue, the type of an event or `timer`",
    ),
    RecordField(
        "function",
        WHOLE,
        3,
        "the writer: `auto_link`, `cross_account` or `sweep`; for a person's command `sweep-cli`, `close`, `reopen`, `account-remove`, "
        "`adopt`, `apply`, `accept` or `withdraw`",
        ocsf="api.service.name",
    ),
    RecordField("deployment", WHOLE, 3, ""),
    RecordField(
        "region",
        WHOLE,
        3,
        "",
        ocsf="cloud.region",
        ocsf_note="`cloud.provider` is `Alibaba Cloud`, `cloud.account.uid` the account of the functions",
    ),
    RecordField(
        "event_id",
        WHOLE,
        3,
        "the trigger. A sweep's `event_id` is `sweep-<trigger time>`; where `link-peer apply` has no event, it is `apply-cli-<time>`",
        ocsf="metadata.correlation_uid",
        ocsf_note=_TRIGGER,
    ),
    RecordField("request_id", WHOLE, 3, "", ocsf="api.request.uid", ocsf_note=_TRIGGER),
    RecordField(
        "action",
        WHOLE,
        3,
        "`link`, `unlink`, `sync`, `look`, `expire`, `repair`: see below",
        ocsf="api.operation",
        ocsf_note=_KIND,
    ),
    RecordField(
        "outcome",
        WHOLE,
        3,
        "`advice` is words, a command that can be pasted, or `<words>: <command>`; see "
        "[requests.md](requests.md#denials-and-how-to-resolve-them). `reason` is empty if there is nothing to explain",
        ocsf="activity_id status_id status",
        ocsf_note="`applied`: 1 (Create), 1 (Success); `removed`: 4 (Delete), 1; `unchanged`: 2 (Read), 1; `denied` and `failed`: 99 "
        "(Other), 2 (Failure), where `activity_name` is `Link` or `Unlink`. `type_uid` is 600300 and `activity_id`; `status` is the word "
        "itself",
    ),
    RecordField("reason", WHOLE, 3, "", empty="", ocsf="status_code"),
    RecordField("detail", TEXT, 3, "", empty="", ocsf="status_detail"),
    RecordField("advice", TEXT, 3, "", empty="", column=True),
    RecordField(
        "link",
        WHOLE,
        3,
        "16 hex digits that identify the link: region, both parties and ports. Both directions of a mutual link have the same value",
        empty="",
    ),
    RecordField(
        "from_account",
        WHOLE,
        3,
        "the link. For a tag link, `from` is the group that stands for the instance; where none does, the first that could. `ports` is "
        "`mutual` if the link has no ports",
        empty="",
        ocsf="src_endpoint.owner.account.uid",
        ocsf_note=_PARTY,
    ),
    RecordField("from", WHOLE, 3, "", empty="", ocsf="src_endpoint.uid", ocsf_note=_PARTY),
    RecordField("to_account", WHOLE, 3, "", empty="", ocsf="resources[].owner.account.uid", ocsf_note=_TARGET),
    RecordField("to", WHOLE, 3, "", empty="", ocsf="resources[].uid", ocsf_note=_TARGET),
    RecordField("ports", WHOLE, 3, "", empty=""),
    RecordField("instance", WHOLE, 3, "the instance whose tag asked (tag links only)"),
    RecordField(
        "rules",
        TEXT,
        3,
        "JSON list: `account`, `group`, `source`, `dest`, `protocol`, `ports`, `rule_id`",
        empty="[]",
        ocsf="resources[].uid",
        ocsf_note="one more resource for each rule, of type `security group rule`, `role_id` 3 (Affected)",
    ),
    RecordField(
        "tagged", LIST, 3, "in an intent: the groups that receive the managed tag, by which a sweep finds them"
    ),
    RecordField(
        "api_requests",
        LIST,
        3,
        "RequestIds of the API calls that changed something, to join with ActionTrail",
        empty="",
        ocsf_note="the RequestIds of ActionTrail",
    ),
    RecordField(
        "reachability",
        WHOLE,
        3,
        "`same-vpc`, `different-vpc`, `unknown`. A rule does not provide a route",
        empty="unknown",
    ),
    RecordField(
        "effect",
        TEXT,
        3,
        "in an outcome: `passes`, `blocked` or `unknown`: whether the link's packets get through, as far as security groups decide. See "
        "[below](#effect)",
        empty="unknown",
    ),
    RecordField(
        "effect_detail",
        TEXT,
        3,
        "the rule or setting that decides: a rule's id, group, direction and priority, an advanced group's default, InnerAccessPolicy. "
        "Where it is unknown: what was not read",
        empty="",
    ),
    RecordField(
        "instances",
        LONG,
        3,
        "in an outcome: how many instances the rules admit as sources: all members of a group, for a rule that names one; for a link by "
        "address, those for whose addresses the rules are, and of a removal those for whom they were. Where their number is not known, one "
        "page of them is read, right after a rule was added: of a group with more than that, the field is `100 or more`, which a query "
        "for a range does not find. Where no rule was added, it stays empty",
        empty="",
    ),
    RecordField(
        "instance_ids",
        TEXT,
        3,
        "the first 20 of them by id, each as `i-…@<uid>`; none where not all of them were read. In a sweep's records only those of instance links and of links by address: it "
        "counts members, and does not read them",
        empty="",
    ),
    RecordField(
        "claims",
        TEXT,
        3,
        "in an outcome: JSON, what the decision left of link-peer's rules: by the id of each that it names, the claims that the rule "
        "carries now, as in its description (`tag,req:chg-1042~20990101T000000Z`); `null` for a rule that it removed. "
        '`"…"` says how many did not fit',
        empty="{}",
    ),
    RecordField(
        "old_claims",
        TEXT,
        4,
        "in an outcome: JSON, by the id of each rule that the decision changed or removed, the claims that it carried before: what has to be "
        "asked for again to take the decision back",
        empty="{}",
    ),
    RecordField(
        "until",
        WHOLE,
        3,
        "in an outcome: when the link ends at the earliest, by the claims of its rules or by consent, as far as the delivery knew. Empty "
        "if it need not end",
        empty="",
    ),
    RecordField(
        "consent",
        TEXT,
        3,
        "the entry that consented, the group it is on, and its value, as judged right before the rule was written",
        empty="",
    ),
    RecordField(
        "queue",
        WHOLE,
        3,
        "the queue through which the request came, from the platform's envelope. Empty where that is not proven. It decides [who may "
        "ask](requests.md#who-may-ask)",
        empty="",
    ),
    RecordField(
        "claimed_by",
        WHOLE,
        3,
        "what the request says about itself; not verified. `claimed_by` of a command has the ARN of the person who ran it",
        empty="",
        ocsf_note=_CLAIMED,
        claimed="requested_by",
    ),
    RecordField("claimed_reason", TEXT, 3, "", ocsf_note=_CLAIMED, claimed="reason"),
    RecordField(
        "key",
        WHOLE,
        3,
        "hash of the whole record. SLS stores a record at least once: the copies of one write have the same key, and a later write has "
        "another. Count distinct keys",
        ocsf="metadata.original_event_uid",
        ocsf_note="by which copies are dropped",
    ),
    RecordField(
        "logstore",
        NOT_INDEXED,
        3,
        "added by `link-peer audit`: in which logstore the record is, which its writer does not choose; and when SLS received it, as a "
        "query shows it: `audit --verify` asks cursors instead",
        ocsf="metadata.log_name",
        ocsf_note=_LOG,
    ),
    RecordField(
        "received",
        NOT_INDEXED,
        3,
        "",
        ocsf="metadata.logged_time",
        ocsf_note="`timestamp_t`: when SLS received it",
    ),
    RecordField(
        "evidence",
        NOT_INDEXED,
        4,
        "added by `link-peer audit --story`: how it is known: `recorded` by its writer, `as the event says`, which anybody may have sent, or "
        "`proven` by ActionTrail; and the commands that take the act back, at its last record, one a line",
    ),
    RecordField("undo", NOT_INDEXED, 4, ""),
)
"""A decision: `intent`, `outcome` or `attempt`."""

OBSERVED = (
    RecordField("action", WHOLE, 3, "`consent`"),
    RecordField(
        "event_call",
        WHOLE,
        3,
        "the API call that the event reports, and its RequestId",
        ocsf="api.operation",
        ocsf_note=_OBSERVED,
    ),
    RecordField("event_request", WHOLE, 3, "", ocsf="api.request.uid", ocsf_note=_OBSERVED),
    RecordField(
        "event_tags",
        TEXT,
        3,
        "JSON: the tags that the event names and on which links depend, each with its value; `null` if the call took it off. `{}` if it "
        "names none. At most 20, the most that a call may set",
    ),
    RecordField(
        "tags",
        TEXT,
        3,
        "JSON: the group's tags that consent, lock or put it into a set, as they were when the event was handled; tags that consent come "
        'first, and `"…"` says how many did not fit. Empty if they are not known; `detail` then says why',
    ),
    RecordField(
        "old_tags",
        TEXT,
        3,
        "of a person's command: JSON, what the tags of `event_tags` were before; `null` if there was none",
    ),
)
"""What an event says of a change of a group's tags, beside fields of a decision."""

TIMER = (
    RecordField("scope", WHOLE, 4, "`timer`"),
    RecordField(
        "accounts",
        LONG,
        4,
        "how many accounts' sweeps the run began: it posted their messages, or sweeps them itself",
    ),
    RecordField(
        "waiting",
        LONG,
        4,
        "how many other accounts the policy lists: their turn is in another run, or their message could not be posted",
    ),
    RecordField(
        "dead_letters",
        LONG,
        3,
        "messages in the dead-letter queue, at least; absent if they could not be counted, for which `detail` gives the reason",
    ),
    RecordField("policy", NOT_INDEXED, 3, "as below; `seconds` is how long the run took to begin them"),
    RecordField("seconds", DOUBLE, 3, ""),
    RecordField("detail", TEXT, 3, ""),
)
"""What a run of the timer began."""

ACCOUNT = (
    RecordField("scope", WHOLE, 4, "`account`"),
    RecordField("account", WHOLE, 4, "the account that was swept"),
    RecordField(
        "entered_as",
        WHOLE,
        4,
        "the role (its ARN) by which the functions entered the account, `own role` in the home account; absent if they could not, and in a "
        "person's sweep. `link-peer doctor` and `link-peer account list` go by it",
    ),
    RecordField(
        "refusal",
        WHOLE,
        4,
        "why the account could not be entered or read: the code of the refusal, or the transient error in words; absent if it could",
    ),
    RecordField("trouble", NOT_INDEXED, 4, ""),
    RecordField("instances", LONG, 3, "how many instances, and the rules of how many groups, were read in the account"),
    RecordField("groups", LONG, 3, ""),
    RecordField("changed", LONG, 3, "rules"),
    RecordField("removed", LONG, 3, ""),
    RecordField("held", LONG, 3, ""),
    RecordField("denied", LONG, 3, "links"),
    RecordField(
        "counts",
        TEXT,
        3,
        "JSON: how many decisions came to each outcome and reason, also those that are not recorded one by one: "
        '`{"applied": 2, "denied no-consent": 14}`',
    ),
    RecordField(
        "policy",
        NOT_INDEXED,
        3,
        "the first 16 hex digits of the SHA-256 of the policy file by which it was decided",
    ),
    RecordField(
        "damaged_markers",
        LIST,
        3,
        "groups with a rule whose description names this deployment and home account but is not a valid marker of it. These rules are left "
        "alone",
    ),
    RecordField("api_requests", LIST, 3, "RequestIds of managed tags that were removed; all API calls, by action"),
    RecordField("api_calls", TEXT, 3, ""),
    RecordField("seconds", DOUBLE, 3, "the duration of the delivery"),
    RecordField(
        "progress",
        NOT_INDEXED,
        3,
        "where accounts are swept by messages of their own: instances and pages listed so far, and of how many groups the rules were read",
    ),
    RecordField(
        "detail",
        TEXT,
        3,
        "held removals by account, accounts that could not be read, accounts without instances, groups and changes for which no time was "
        "left",
    ),
)
"""What the sweep of one account did."""

DECISION_FIELDS = {field.name: field.empty for field in DECISION if field.empty is not None}
"""The fields that every record of a decision has, so that a reader need not ask which exist, with their empty
values."""
CLAIMED = {field.name: field.claimed for field in DECISION if field.claimed}
"""The fields that a request says of itself: by the field of the record, the request's."""
