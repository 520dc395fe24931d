"""Every reason that an audit record can give: a row each. docs/requests.md lists the rows.

No decision reads a `code`: it reads the `kind`, or a field of the denial (`domain.denials`). So a reason can be added,
or divided in two, without a change of what is done.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Kind(Enum):
    """What a reason says about a link."""

    FINAL = "final"  # as things are now, it may not exist
    NOT_SHOWN = "not shown"  # the cloud does not show something: removals for it count toward the cap
    UNDECIDED = "undecided"  # nothing can be said yet: an account is not read or refuses access, or link-peer is paused


class Reason(msgspec.Struct, frozen=True):
    """A reason of a record."""

    code: str  # what the record says: a contract with programs that read the log
    kind: Kind
    meaning: str  # Markdown of the folder docs
    remedy: str  # what a person does about it in general; Markdown of the folder docs
    keeps_standing: bool = False  # it only denies opening; what stands for the same wish stays


NONE = Reason("", Kind.FINAL, "an outcome that needs no reason", "")
UNREAD = Reason("", Kind.UNDECIDED, "something could not be read for now: nothing is recorded", "")

NO_CONSENT = Reason(
    "no-consent",
    Kind.FINAL,
    "the accepting group has not accepted this source on every port, or its consent has ended",
    "set the tag that `advice` names, on the group it names: with keys of the group's account, run the `link-peer accept` of "
    "`advice`",
)
NOT_ALLOWED = Reason(
    "not-allowed",
    Kind.FINAL,
    "forbidden by the policy's `never` or `deny` list or limits (`max_ports`, `max_port_span`, `max_peers`, "
    "`max_members`, `max_days`, `max_days_tags`); the request came through the wrong queue; or ECS refused the change with an error "
    "code that link-peer does not know (see `detail`)",
    "follow `advice`: ask for less, set the end that it names, use the right queue, or have the policy file changed; look up the error code",
)
NO_MEMBERS = Reason(
    "no-members",
    Kind.FINAL,
    "a link that is written with addresses has no instance: the source group has none, or the instance left it",
    "nothing, where the instance left; otherwise post the request again once the group has instances",
)
BAD_TAG = Reason(
    "bad-tag", Kind.FINAL, "invalid syntax in a peer or in `link-until`", "correct the tag: see [tags.md](tags.md)"
)
BAD_REQUEST = Reason(
    "bad-request",
    Kind.FINAL,
    "the message does not match the schema; `detail` names the field",
    "correct the message and post it again",
    keeps_standing=True,
)
BAD_EVENT = Reason(
    "bad-event",
    Kind.FINAL,
    "the event is malformed, or from another account or region",
    "check the trigger's filter pattern, and who may publish events",
)
EXPIRED = Reason(
    "expired",
    Kind.FINAL,
    "`expires_at`, `until` or `link-until` has passed",
    "post again with a later time; set `link-until` later, or remove it: `advice` has the command",
)
PAUSED = Reason(
    "paused",
    Kind.UNDECIDED,
    "`paused` is `true` or `opening` in the policy file",
    "wait until it is resumed; then post again, or change the tag",
    keeps_standing=True,
)
UNKNOWN_ACCOUNT = Reason(
    "unknown-account",
    Kind.FINAL,
    "the policy file does not list the account",
    "[onboard](onboarding.md) it: `link-peer account add`",
)
NO_ACCESS = Reason(
    "no-access",
    Kind.UNDECIDED,
    "the account cannot be read or changed: role, trust policy, external id or permissions",
    "`link-peer doctor`; compare role and policy with [onboarding.md](onboarding.md); post again",
)
PEER_NOT_FOUND = Reason(
    "peer-not-found", Kind.NOT_SHOWN, "the group does not exist", "check its id, account and region"
)
INSTANCE_GONE = Reason(
    "instance-gone",
    Kind.NOT_SHOWN,
    "the cloud does not show the instance",
    "check its id, account and region, and whether the role may see it",
)
NO_PRIVATE_IP = Reason(
    "no-private-ip",
    Kind.NOT_SHOWN,
    "an instance link needs both private addresses",
    "wait until the instance runs",
)
SAME_GROUP = Reason("same-group", Kind.FINAL, "both are already in one group, or an instance names itself", "nothing")
DIFFERENT_REGION = Reason(
    "different-region",
    Kind.FINAL,
    "the message is for another region; a link stays in one",
    "post it to that region's queue. Between two regions, connect the VPCs with CEN, VPN Gateway or Express Connect, and "
    "admit the addresses by rules of your own",
)
DIFFERENT_VPC = Reason(
    "different-vpc",
    Kind.FINAL,
    "the two groups are in different VPCs, and the link has no ports: no rule of the one can name the other",
    "name ports, so that the link is written by address, or instances; and connect the VPCs with CEN, VPC peering, VPN Gateway "
    "or Express Connect",
)
CLASSIC_NETWORK = Reason(
    "classic-network",
    Kind.FINAL,
    "one side is not in a VPC",
    "move it into a VPC: the classic network is retired, and so is ClassicLink, which connected its instances with VPCs",
)
ADVANCED_GROUP = Reason(
    "advanced-group",
    Kind.FINAL,
    "an advanced group cannot have a group as a source, nor be a source, and the link has no ports",
    "name ports, so that the link is written by address, or instances",
)
MANAGED_GROUP = Reason(
    "managed-group", Kind.FINAL, "the group is managed by a cloud product", "use a group of your own"
)
LOCKED = Reason(
    "locked",
    Kind.FINAL,
    "the group carries `link-lock`: no rule of link-peer may be on it",
    "ask the person who locked it; `link-peer reopen` allows links again",
)
REFUSED = Reason(
    "refused",
    Kind.FINAL,
    "a group of either end refuses the other by its tag `link-refuse`, whoever consents",
    "ask the person who refused it; then the command of `advice` takes the entry off",
)
ISOLATED_GROUP = Reason(
    "isolated-group",
    Kind.FINAL,
    "the peer is the instance's own group, but its members do not reach each other",
    "name instances (`i-…`) instead of the group, or let its members reach each other: `advice` has the command",
)
ADDRESS_CONFLICT = Reason(
    "address-conflict",
    Kind.FINAL,
    "the source's address does not reliably identify that instance: not private, outside the account's `ranges`, used in "
    "the target's VPC too, or already that of another linked instance; or, by address across accounts and VPCs, the policy gives "
    "the account no `ranges`",
    "use another address, link groups, or have `ranges` put into the policy: see [tags.md](tags.md#addresses)",
)
ID_IN_USE = Reason(
    "id-in-use",
    Kind.FINAL,
    "this `request_id` is already a claim between the two, with other ports, direction or `until`",
    "post it again with a new `request_id`, or unlink the other first",
    keeps_standing=True,
)
HALF_OPEN = Reason(
    "half-open",
    Kind.FINAL,
    "the rule at one end of a link is missing, so the one at the other end was removed",
    "post the request again",
)
QUOTA = Reason(
    "quota",
    Kind.FINAL,
    "one of these is full: the groups that a group's rules may name (20), the rules of a group (1,000, or 200), the tags of a group, or "
    "the 512 characters of a description",
    "remove what is not needed; unlink requests that are done",
    keeps_standing=True,
)
REMOVALS_HELD = Reason(
    "removals-held",
    Kind.FINAL,
    "more than `removals_per_run` rules would be removed only because one account no longer shows instances or groups",
    "list them with `link-peer sweep --dry-run`; raise the limit if they should be removed",
)
HUMAN_RULE = Reason(
    "human-rule",
    Kind.FINAL,
    "a person has made an equal rule; it counts as present and is never changed",
    "nothing, or [adopt it](howto/adopt-a-rule.md): `link-peer adopt sgr-…`",
)

REASONS = {row.code: row for row in list(globals().values()) if isinstance(row, Reason) and row.code}
"""The rows above that have a code, by it."""
