"""Every denial: why a link is not made, or why a rule is removed. No other module makes one.

Each function or constant gives one `Denial`: its reason, the fact that decided, and what to do about it; where a
command does it, that command. Advice is words, a command that can be pasted into a shell, or `<words>: <command>`. A
denial is often worded before it is known whose link it is about; `{link}` and the like stand for that until it is
recorded.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Literal

import msgspec

from link_peer.domain import reasons
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import ALL, Link, Party, Port
from link_peer.domain.reasons import NONE, Kind, Reason
from link_peer.domain.tags import RefusalEntry, quoted, split

POST_AGAIN = "link-peer request {action} {link}"
"""The command that asks for the same link again."""

_COMMAND = re.compile(r"(?:^|: )((?:LINK_PEER_REGION=\S+ )?(?:link-peer|aliyun) .*)$")


class Waits(Enum):
    """What may resolve a denial without a person."""

    NO = "nothing"
    FOR_THE_CLOUD = "a new instance, or its address, is shown within minutes"
    FOR_A_READ = "something was not read: another read decides, and until then nothing is recorded"
    FOR_A_RULE = "another instance has the rule, which may be removed"


class Denial(msgspec.Struct, frozen=True):
    """Why a link is denied, or a rule removed. People and programs read the reason in records; what is done follows
    from its kind, and from the fields below."""

    reason: Reason
    detail: str  # the fact that decided
    advice: str = ""  # what to do about it; may be empty
    outcome: Literal["denied", "failed", "unchanged"] = "denied"  # of a link that is denied for this
    waits: Waits = Waits.NO
    ended: bool = False  # its time is over
    half_open: bool = False  # half of a mutual link is missing
    owners: bool = False  # the owners of the groups can resolve it, after which the link may be asked for again
    lacks_consent: bool = False  # they can by consenting
    empty_group: Party | None = None  # a group that shows no instances
    by_limit: bool = False  # the policy opens no more of it
    moved: bool = False  # what is removed is written anew for another address

    @property
    def keeps_standing(self) -> bool:
        """Whether it only denies opening: what stands for the same wish stays."""
        return self.by_limit or self.reason.keeps_standing

    @property
    def unseen(self) -> bool:
        """Whether the cause is only that the cloud does not show something."""
        return self.reason.kind is Kind.NOT_SHOWN

    @property
    def undecided(self) -> bool:
        """Whether it says nothing about the link itself: an account refuses access, something was not read, or all is
        paused."""
        return self.reason.kind is Kind.UNDECIDED

    def __str__(self) -> str:
        """As people read it: `<reason>: <detail>`."""
        return f"{self.reason.code}: {self.detail}"


NO_DENIAL = Denial(NONE, "")


class LinkDenied(LinkPeerError):
    """A link, or a change that it needs, is denied for good. `denial` says why."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(str(denial))
        self.denial = denial


def about(denial: Denial, action: str, link: Link, region: str) -> Denial:
    """The denial with advice about this very link. `action` is what was asked for (link, unlink, sync)."""
    return msgspec.structs.replace(denial, advice=filled(denial.advice, action, link, region))


def filled(advice: str, action: str, link: Link, region: str) -> str:
    """The advice about one link."""
    for name, value in {"{link}": options(link), "{action}": action, "{region}": region}.items():
        advice = advice.replace(name, value)
    return advice


def options(link: Link) -> str:
    """The options of `link-peer request` that name a link."""
    ports = "".join(f" --port {port}" for port in link.ports)
    return f"--from {link.source} --to {link.target}{ports}"


def parts(advice: str) -> tuple[str, str]:
    """(the words, the command) of advice; either may be empty."""
    command = _COMMAND.search(advice)
    return (advice[: command.start()], command[1]) if command else (advice, "")


# what is denied because of how it is asked for: tags, events and requests


FORM_ADVICE = "see docs/requests.md for the schema, or let the command write the message: link-peer request --help"
_MAX_INSTANCE_NAMES = 5  # instances, in a detail
_TAG_OFF = "aliyun ecs UntagResources --RegionId {region} --ResourceType {kind} --ResourceId.1 {id} --TagKey.1 {key}"
_OTHER_PRODUCT = re.compile(r"(rm|r|lb)-[0-9a-z]{1,60}(?![^:@])")
_OWN_MEANS = {
    "rm": "the IP whitelist of the RDS instance",
    "r": "the IP whitelist of the Redis instance",
    "lb": "the access control lists of the load balancer's listeners",
}
"""By what the owners of RDS, Redis and SLB instances admit addresses [doc ModifySecurityIps of both,
AddAccessControlListEntry]. No command that does it: nothing here would record what it opens, or ever close it."""


def left_out(parts: Mapping[str, str]) -> str:
    """The instances that a link by address does not admit, each with why."""
    listed = [f"{party}: {cause}" for party, cause in sorted(parts.items())[:_MAX_INSTANCE_NAMES]]
    suffix = f"; and {len(parts) - _MAX_INSTANCE_NAMES} more" if len(parts) > _MAX_INSTANCE_NAMES else ""
    return f"not admitted: {'; '.join(listed)}{suffix}" if listed else ""


def bad_tag(problem: object, written: str, address: str = "") -> Denial:
    """A peer in a tag that cannot be parsed. `written` is what the tag says of it, `address` the private one
    of the instance."""
    advice = "write peers as sg-… or i-…, in another account with @<account uid>, with ports as :tcp/3306+udp/53"
    if product := _OTHER_PRODUCT.match(written):
        advice = (
            f"no security group decides about {product[0]}, so link-peer neither opens nor closes access to it; its owner "
            f"admits {address or 'the instance'} by {_OWN_MEANS[product[1]]}, and removes it there; take the peer out of the tag"
        )
    return Denial(reasons.BAD_TAG, str(problem), advice)


def bad_until(problem: object, instance: Party, key: str) -> Denial:
    """The tag `key`, when the links of an instance end, cannot be parsed."""
    return Denial(
        reasons.BAD_TAG,
        str(problem),
        f"write {key} as 2027-01-01T00:00:00Z, or remove the tag: {_tag_off(instance, key)}",
    )


def tag_expired(instance: Party, key: str) -> Denial:
    """What the instance's tag `key` says is past: when its links end."""
    return Denial(
        reasons.EXPIRED,
        f"{key} is past",
        f"set {key} to a later instant, or remove the tag: {_tag_off(instance, key)}",
        ended=True,
    )


def _tag_on(party: Party, key: str, value: str) -> str:
    kind = "securitygroup" if party.is_group else "instance"
    return (
        f"aliyun ecs TagResources --RegionId {{region}} --ResourceType {kind} --ResourceId.1 {party.id} "
        f"--Tag.1.Key {shlex.quote(key)} --Tag.1.Value {shlex.quote(value)}"
    )


def _tag_off(party: Party, key: str) -> str:
    # The id is filled in here: when the claim of the tag is removed, nobody knows any more whose tag it was.
    kind = "securitygroup" if party.is_group else "instance"
    return _TAG_OFF.replace("{kind}", kind).replace("{id}", party.id).replace("{key}", shlex.quote(key))


def bad_event(problem: object) -> Denial:
    """An event that auto_link does not handle."""
    advice = "auto_link takes changes of state, groups, addresses and tags of ECS in its own account and region"
    return Denial(reasons.BAD_EVENT, str(problem), advice)


def bad_request(problem: object) -> Denial:
    """A message that does not match the schema."""
    return Denial(reasons.BAD_REQUEST, str(problem), FORM_ADVICE)


def different_region(requested: str, served: str, *, is_look: bool) -> Denial:
    """A message for another region. `requested` has the form of a region's id."""
    detail = f"the request is for {requested!r}, and this function serves {served}"
    advice = (
        "a link stays in one region. Between two, connect the VPCs with CEN, VPN Gateway or Express Connect, and admit the "
        "addresses by rules of your own"
    )
    if not is_look:
        advice += f". For a link in that region, post it there: LINK_PEER_REGION={requested} {POST_AGAIN}"
    return Denial(reasons.DIFFERENT_REGION, detail, advice)


def look_expired(instant: str) -> Denial:
    """A look that met transient errors until it expired."""
    return Denial(reasons.EXPIRED, f"expires_at {instant} is past", "the next sweep looks at it: link-peer sweep")


def request_expired(field: str, instant: str) -> Denial:
    """`expires_at` or `until` of a request is past."""
    later = "post it again" if field == "expires_at" else "post it again with a later --until, or with none"
    return Denial(reasons.EXPIRED, f"{field} {instant} is past", f"{later}: {POST_AGAIN}", ended=True)


# what an account or the policy file denies, and missing consent


PAUSED = Denial(
    reasons.PAUSED,
    "the policy pauses link-peer: nothing is opened",
    "set paused: false in the policy file and deploy it, then post the request again, or change the tag",
)


def unknown_account(account: str) -> Denial:
    """An account that the policy file does not list."""
    advice = (
        f'add "{account}" to accounts in the policy file, with the role that link-peer may assume there, and deploy it; '
        f"this prints the lines: link-peer account add {account}"
    )
    return Denial(reasons.UNKNOWN_ACCOUNT, f"account {account} is not in the policy", advice)


def no_access(account: str, code: str) -> Denial:
    """An account that refused access, with the platform's error code."""
    return Denial(reasons.NO_ACCESS, f"account {account}: {code}", _access_advice(account))


def sweep_no_access(account: str, code: str) -> Denial:
    """An account that refused access to a sweep."""
    detail = f"account {account} refuses access: {code}: nothing is removed there"
    return Denial(reasons.NO_ACCESS, detail, _access_advice(account))


def unreadable(account: str, problem: str) -> Denial:
    """An account that could not be read because of a transient error: nothing is decided about its side now, and
    nothing is recorded."""
    return Denial(reasons.UNREAD, f"account {account} could not be read: {problem}", waits=Waits.FOR_A_READ)


def no_access_to_group(group: Party, code: str = "") -> Denial:
    """A group that may not be read or changed."""
    detail = f"{group} cannot be read or changed" + (f": {code}" if code else "")
    return Denial(reasons.NO_ACCESS, detail, _access_advice(group.account))


def _access_advice(account: str) -> str:
    return f"the doctor says why, and what mends it: link-peer doctor {account}"


def own_keys_refused(code: str, message: str) -> Denial:
    """What a person's command may not do with the person's own keys."""
    return Denial(
        reasons.NO_ACCESS,
        f"the person's own keys may not do this ({code}: {message})",
        "use keys that may tag and modify rules there: docs/permissions.md",
    )


def _not_allowed(detail: str, advice: str = "ask for fewer ports, or have the policy file changed") -> Denial:
    return Denial(reasons.NOT_ALLOWED, detail, advice)


def _beyond_limit(detail: str, advice: str = "ask for fewer ports, or have the policy file changed") -> Denial:
    return Denial(reasons.NOT_ALLOWED, detail, advice, by_limit=True)


def not_reviewed(group: object) -> Denial:
    """A change that is not in the plan which a person applies."""
    return Denial(
        reasons.NOT_ALLOWED,
        f"{group}: the reviewed plan has no such change, so link-peer apply does not make it",
        "save a new plan with --out, review it, and apply that",
    )


def mutual_not_allowed(*, denies_ports: bool) -> Denial:
    """A mutual link under a policy that denies some ports, or every link without ports."""
    cause = "denies some" if denies_ports else "allows no link without ports (mutual: deny)"
    return _not_allowed(
        f"a mutual link opens every port, and the policy {cause}",
        "name the ports that are needed (sg-…:tcp/443), or have the policy file changed",
    )


def too_many_ports(count: int, limit: int) -> Denial:
    """A link with more ports than the policy allows."""
    return _beyond_limit(f"{count} ports in one link; at most {limit} are allowed")


def port_span_too_wide(port: object, span: int, limit: int) -> Denial:
    """A port range that is wider than the policy allows."""
    return _beyond_limit(f"{port} spans {span} ports; at most {limit} are allowed")


def port_denied(port: object, denied: object) -> Denial:
    """A port that overlaps one which the policy never opens."""
    return _not_allowed(f"{port} overlaps {denied}, which the policy never opens")


FORBIDDEN = "the policy forbids it, even with consent: "
"""With what the detail of a guardrail's denial begins, by which readers of the log find it."""


def never_allowed(entry: str) -> Denial:
    """A pair that the policy forbids, by an entry of its `never`."""
    return _not_allowed(
        FORBIDDEN + entry,
        "leave it, or have that entry of never in the policy file changed",
    )


def tag_end_not_allowed(instance: Party, key: str, limit: int, latest: str) -> Denial:
    """An instance that asks by tag, whose tag `key` is missing or later than limits.max_days_tags allows: `latest`,
    now."""
    return _not_allowed(
        f"the policy allows links by tag for at most {limit} days, and {key} of {instance} must say so",
        f"set {key} within {limit} days: {_tag_on(instance, key, latest)}",
    )


def too_many_peers(limit: int) -> Denial:
    """A peer beyond the first `limit` of an instance's tags."""
    return _beyond_limit(
        f"an instance may name {limit} peers, and this one comes after them", "remove peers from its tags"
    )


def until_not_allowed(limit: int, latest: str) -> Denial:
    """A request without an end, or with one later than limits.max_days allows: `latest`, now."""
    return _beyond_limit(
        f"the policy allows links for at most {limit} days",
        f"post it again with an until of at most {limit} days: {POST_AGAIN} --until {latest}",
    )


def not_its_queue(queue: str, account: str) -> Denial:
    """A request on an account's own queue that speaks for another account."""
    return _not_allowed(
        f"the queue {queue} takes only requests of account {account}",
        f"post it to the queue of the account it speaks for, which the command does: {POST_AGAIN}",
    )


def wrong_queue(account: str, queue: str) -> Denial:
    """A request that did not come through the queue of the account it speaks for."""
    return _not_allowed(
        f"account {account} has a queue of its own, and this request did not come through it",
        f"post it to the queue {queue}, which the command does: {POST_AGAIN}",
    )


def not_home(account: str) -> Denial:
    """A look at a party of another account."""
    return _not_allowed(f"a look is at a party of the home account, and {account} is not it", "send a sync of the pair")


class Unaccepted(msgspec.Struct, frozen=True):
    """What a group has not accepted."""

    group: Party
    source: Party
    ports: tuple[Port, ...]  # `ALL`: everything
    tags: Sequence[str]  # `key=value`: any of these tags would accept it; none where no key is left
    entry: str  # `<who>[:<ports>]`, by which the group's owner writes them
    is_egress: bool = False  # the group has not consented to reach `source`

    def __str__(self) -> str:
        """What is missing, in words."""
        verb = "has not consented to reach" if self.is_egress else "has not accepted"
        return f"{self.group} {verb} {self.source} on {_ports_text(self.ports)}"

    @property
    def command(self) -> str:
        """By which the group's owner consents."""
        return f"link-peer accept {self.group} {self.entry}" + (" --egress" if self.is_egress else "")


def no_consent(missing: Sequence[Unaccepted], *, by_tag: bool) -> Denial:
    """Groups that have not consented. `by_tag`: the policy counts tags, not only its own list."""
    advice = "have the pair added to allow in the policy file"
    if by_tag:
        tags = " and ".join(
            f"tag {consent_gap.group} {' '.join(consent_gap.tags)}"
            if consent_gap.tags
            else f"{consent_gap.group} has no consenting key left: join the entry to the value of one, or withdraw entries"
            for consent_gap in missing
        )
        advice = f"{tags}: {'; '.join(consent_gap.command for consent_gap in missing)}"
    return Denial(reasons.NO_CONSENT, "; ".join(map(str, missing)), advice, owners=True, lacks_consent=True)


COUNTED = 100
"""How far the instances of a group are counted for a denial: as many as one call shows [doc DescribeInstances]."""


class Candidate(msgspec.Struct, frozen=True):
    """A group that might stand for an instance, and why it does not."""

    group: Party
    denial: Denial
    members: int | None  # how many it has; COUNTED: that many or more; None: not counted

    def __str__(self) -> str:
        if self.members is None:
            number = "instances not counted"
        else:
            number = f"{self.members} instance{'s'[: self.members != 1]}" + " or more" * (self.members == COUNTED)
        return f"{self.group} ({number}{'' if self.denial.lacks_consent else f'; {self.denial.detail}'})"


def no_group_accepted(instance: object, candidates: Sequence[Candidate]) -> Denial:
    """An instance of whose groups, smallest first, none may stand for it, some for lack of consent. The advice opens
    the first of these."""
    smallest = next(candidate.denial for candidate in candidates if candidate.denial.lacks_consent)
    return among(smallest, instance, candidates)


def among(denial: Denial, instance: object, candidates: Sequence[Candidate]) -> Denial:
    """A denial for want of consent that names all groups of an instance, smallest first, which could consent."""
    names = ", ".join(map(str, candidates))
    detail = f"{denial.detail}; the groups of {instance} that could stand for it, smallest first: {names}"
    return msgspec.structs.replace(denial, detail=detail)


def _ports_text(ports: Sequence[Port]) -> str:
    return "all ports" if ALL in ports else "+".join(sorted(map(str, ports)))


# what is denied because of what a group or an instance is


NAME_PORTS = "name ports (sg-…:tcp/443), or instances (i-…) instead of groups"
OWN_GROUP = "use a group that no cloud product manages"
USE_VPC = (
    "move it into a VPC: the classic network is retired, and so is ClassicLink, which connected its instances with VPCs"
)
_CLOSING_KEY = re.compile(r"\.close(\.[0-9])?$")
CLOSED_BY = "link-peer close by "
"""How the value of a lock begins that `link-peer close` set."""
_SHOW_GROUP = "aliyun ecs DescribeSecurityGroups --RegionId {region} --SecurityGroupIds"
_SHOW_INSTANCE = "aliyun ecs DescribeInstances --RegionId {region} --InstanceIds"


def instance_gone(party: object) -> Denial:
    """An instance that the cloud does not show."""
    return Denial(reasons.INSTANCE_GONE, f"{party} does not exist", _check_id(party), waits=Waits.FOR_THE_CLOUD)


def instance_not_shown() -> Denial:
    """The instance of an old event, which the cloud does not show."""
    detail = "the cloud does not show the instance, and its event is more than five minutes old"
    advice = "check that it exists in this region, and that the function's role may read it: link-peer doctor"
    return Denial(reasons.INSTANCE_GONE, detail, advice)


def peer_not_found(party: object) -> Denial:
    """A group that the cloud does not show."""
    return Denial(reasons.PEER_NOT_FOUND, f"{party} does not exist", _check_id(party))


def _check_id(party: object) -> str:
    """How to look whether a party exists, with keys of its account."""
    name, _, account = str(party).partition("@")
    show = _SHOW_GROUP if name.startswith("sg-") else _SHOW_INSTANCE
    where = f" in account {account}" if account else ""
    return f"check the id, the account and the region; keys{where} show it: {show} '[\"{name}\"]'"


def own_groups_not_found(instance: str, groups: str) -> Denial:
    """Not all of an instance's own groups are shown."""
    return Denial(
        reasons.PEER_NOT_FOUND,
        f"the cloud does not show all groups of {instance} ({groups})",
        "check that the account's role may read them: link-peer doctor",
    )


def no_private_ip(party: object) -> Denial:
    """An instance without a private address."""
    detail, advice = f"{party} has no private address", "wait until it runs, then post it again"
    return Denial(reasons.NO_PRIVATE_IP, detail, advice, waits=Waits.FOR_THE_CLOUD)


def same_group(target: str, *, is_group: bool) -> Denial:
    """A tag that names the instance itself, or one of its own groups."""
    return Denial(reasons.SAME_GROUP, f"{target} is the instance's own group" if is_group else "it names itself")


def same_party() -> Denial:
    """A request whose two sides are one."""
    return Denial(reasons.SAME_GROUP, "both sides are the same", outcome="unchanged")


def locked(group: Party, key: str, value: str, *, is_own: bool) -> Denial:
    """A group that the tag `key` with this value locks. `reopen` takes off the deployment's own locks only, and those
    that `close` did not set only if it is forced to."""
    command = f"link-peer reopen {group}" + ("" if value.startswith(CLOSED_BY) else " --force")
    advice = f"ask the person who locked it, then remove the tag {key} from {group}"
    detail = f"{group} carries the tag {key}"
    return Denial(reasons.LOCKED, detail, f"{advice}: {command if is_own else _tag_off(group, key)}", owners=True)


def refused(group: Party, entry: RefusalEntry, tags: Mapping[str, str], peer: Party) -> Denial:
    """A peer that a group with these tags refuses by an entry of them. Those that `close --between` set, `reopen
    --between` takes off."""
    key, _, refused_peer = entry.text.partition("=")
    remaining = ",".join(piece for piece in split(tags[key]) if piece != refused_peer)
    if _CLOSING_KEY.search(key) and entry.party and not remaining:
        is_account = entry.party.id == "*"
        ends = (group.account, entry.party.account) if is_account else (group, entry.party)
        command = "link-peer reopen --between {} {}".format(*ends)
    else:
        command = _tag_on(group, key, remaining) if remaining else _tag_off(group, key)
    everybody = "" if entry.party else ", which cannot be read and so refuses everybody"
    detail = f"{group} refuses {peer} by {quoted(entry.text)}{everybody}"
    return Denial(reasons.REFUSED, detail, f"ask the person who refused it, then take the entry off: {command}")


def isolated_group(group: Party, *, advanced: bool) -> Denial:
    """An instance's own group whose members do not reach each other."""
    detail = f"{group} is the instance's own group, and its members do not reach each other"
    advice = "name instances (i-…) instead of the group"
    if not advanced:
        advice += (
            "; or let all of its members reach each other on all ports: aliyun ecs ModifySecurityGroupPolicy "
            f"--RegionId {{region}} --SecurityGroupId {group.id} --InnerAccessPolicy Accept"
        )
    return Denial(reasons.ISOLATED_GROUP, detail, advice)


def classic_instance(party: object) -> Denial:
    """An instance in the classic network."""
    return Denial(reasons.CLASSIC_NETWORK, f"{party} is in the classic network", USE_VPC)


def classic_group(party: object) -> Denial:
    """A group of the classic network."""
    return Denial(
        reasons.CLASSIC_NETWORK, f"{party} is a classic group", f"use a VPC group; {USE_VPC.partition(': ')[2]}"
    )


def managed_group(party: object) -> Denial:
    """A group that a cloud product manages."""
    detail = f"{party} is managed by a cloud product, which refuses every change"
    return Denial(reasons.MANAGED_GROUP, detail, OWN_GROUP)


def only_managed_groups(groups: str) -> Denial:
    """An instance all of whose groups are managed by cloud products."""
    return Denial(reasons.MANAGED_GROUP, f"the instance's groups ({groups}) are managed by a cloud product", OWN_GROUP)


def no_group_takes_rules(party: object) -> Denial:
    """An instance none of whose groups may be given a rule."""
    return Denial(reasons.MANAGED_GROUP, f"{party} has no group that takes rules", "put it into a group of your own")


def advanced_group(party: object) -> Denial:
    """An advanced group, so that no rule names a group: a link needs ports, to be written by address."""
    detail = f"{party} is an advanced group, which takes no group as a source and cannot be one"
    return Denial(reasons.ADVANCED_GROUP, detail, NAME_PORTS)


def left_group(instance: object, group: object) -> Denial:
    """An instance that is no longer in the group by which a link by address admits it."""
    return Denial(reasons.NO_MEMBERS, f"{instance} is not in {group} any more")


def no_members(group: Party) -> Denial:
    """A link by address one of whose groups has no instances."""
    detail = f"{group} has no instances, and the link is written with their addresses"
    advice = f"post it again once the group has instances: {POST_AGAIN}"
    return Denial(reasons.NO_MEMBERS, detail, advice, empty_group=group)


def too_many_members(count: int, limit: int) -> Denial:
    """More instances of a link by address than it may have."""
    detail = f"a link by address has at most {limit} instances here, and this one would have {count}"
    denied = _beyond_limit(
        detail, "have limits.max_members of the policy raised, ask for fewer ports, or for fewer instances"
    )
    # the room of an instance that is removed in the same delivery is given to another
    return msgspec.structs.replace(denied, waits=Waits.FOR_A_RULE)


def ranges_missing(party: object, account: str) -> Denial:
    """A rule for an address across accounts and VPCs where the policy does not say which addresses are the
    account's."""
    detail = f"{party} is in another VPC, and the policy has no ranges for its account {account}"
    advice = f"have the account's networks put into the policy: accounts.{account}.ranges"
    return Denial(reasons.ADDRESS_CONFLICT, detail, advice)


def public_address(party: object, address: str) -> Denial:
    """An instance link whose source has no private address."""
    detail = f"the address of {party}, {address}, is not private (RFC 1918 or 100.64.0.0/10)"
    return Denial(reasons.ADDRESS_CONFLICT, detail, "use an instance with a private address, or link groups")


def address_out_of_range(party: object, address: str, ranges: Sequence[str]) -> Denial:
    """An instance link whose source lies outside its account's ranges in the policy."""
    detail = f"the address of {party}, {address}, is outside the account's ranges in the policy ({', '.join(ranges)})"
    return Denial(reasons.ADDRESS_CONFLICT, detail, "use an address in those ranges, or have the policy file changed")


# what is denied, removed or repaired because of the link itself and the rules that exist


NO_ROUTE = "a rule gives no route between VPCs: connect them with CEN, VPC peering, VPN Gateway or Express Connect"


def remark(detail: str, advice: str = "") -> Denial:
    """What a record says of an outcome that needs no reason."""
    return Denial(reasons.NONE, detail, advice)


UNWANTED = remark("no tag or request asks for it any more")
JOINED_NOTHING = remark("an instance joined the link as it ended: no other rule of it stands with the claim")
UNLINKED = remark("removed by an unlink request")
CLAIM_EXPIRED = Denial(
    reasons.EXPIRED,
    "the link has ended",
    "post a new request, with a later --until or with none: link-peer request link {link}",
    ended=True,
)
EXPIRED_MEANWHILE = Denial(reasons.EXPIRED, "the link ended while it was being written", ended=True)
HUMAN_RULE = Denial(reasons.HUMAN_RULE, "a person's rule already admits the same traffic")


def address_changed(party: object, address: str) -> Denial:
    """Why the rule for an instance's former address is removed."""
    detail = f"the address of {party} is {address} now, and the rule has another one"
    return Denial(reasons.NONE, detail, moved=True)


def different_vpc(source: object, source_vpc: str, target: object, target_vpc: str) -> Denial:
    """Two groups in different VPCs, so that no rule of the one names the other: a link needs ports, to be written by
    address."""
    detail = f"{source} is in {source_vpc}, {target} in {target_vpc}: no rule of the one can name the other"
    return Denial(reasons.DIFFERENT_VPC, detail, f"{NAME_PORTS}; {NO_ROUTE}")


def address_in_target_vpc(party: object, address: str, vpc: str) -> Denial:
    """An instance link across VPCs whose source's address also belongs to something in the target's VPC."""
    detail = f"{vpc} has an instance or network interface with the address of {party}, {address}"
    return Denial(reasons.ADDRESS_CONFLICT, detail, "use an address that the target's VPC does not use")


def address_of_another(party: object, holder: object) -> Denial:
    """An instance link whose rule exists already, for another instance with the same address."""
    detail = f"the rule that {party} needs exists already for {holder}, which has the same address"
    advice = "give the instances different addresses, or link groups"
    return Denial(reasons.ADDRESS_CONFLICT, detail, advice, waits=Waits.FOR_A_RULE)


def rule_of_another_group(party: object, holder: Party) -> Denial:
    """A part of a requested link by address whose rule is that of a request of another group of the instance, or for
    the instance alone."""
    request = (
        f"a request of {holder}, which the instance is in too" if holder.is_group else f"a request that names {holder}"
    )
    detail = f"the rule that {party} needs exists already for {request}"
    advice = f"{party} is admitted as long as that request is; unlink it first to have the rule for this one"
    return Denial(reasons.ADDRESS_CONFLICT, detail, advice, waits=Waits.FOR_A_RULE)


def id_in_use(request_id: str, until: str = "") -> Denial:
    """A request id that another link of the same pair carries. `until` is the end of the link that was asked for."""
    detail = f"{request_id} is the id of another link between the two: other ports, direction or until"
    advice = "unlink the other first, or post it again with a new request_id, which the command makes"
    return Denial(reasons.ID_IN_USE, detail, f"{advice}: {POST_AGAIN}" + (f" --until {until}" if until else ""))


def id_of_a_shared_rule(request_id: str, group: object) -> Denial:
    """A request id that a link of another pair carries, with another end, on a rule that both need."""
    detail = f"{request_id} is the id of another link, which ends at another time and needs the same rule on {group}"
    return Denial(
        reasons.ID_IN_USE, detail, f"post it again with a new request_id, which the command makes: {POST_AGAIN}"
    )


def half_open(missing: object) -> Denial:
    """Half of a request's mutual link: the rule on the other side is missing."""
    detail = f"the rule on {missing} is missing, and a sweep opens nothing for a request"
    return Denial(reasons.HALF_OPEN, detail, "post the request again: link-peer request link {link}", half_open=True)


def half_of_denied(missing: object, denial: Denial) -> Denial:
    """Half of a link that is denied, so that the rule which is missing at the other end is not written again."""
    return Denial(
        reasons.HALF_OPEN, f"the rule on {missing} is missing, and the link is denied: {denial.detail}", denial.advice
    )


def nothing_to_unlink(between: Sequence[str]) -> Denial:
    """Why an unlink changes nothing; `between` are the rules of ours between the two, which other claims keep."""
    detail = "no rule between the two carries a request's claim"
    if between:
        detail += f"; there are: {'; '.join(between)}"
    return remark(detail)


def nothing_to_do(silent_accounts: Sequence[str], other_side: Sequence[str]) -> Denial:
    """Why a sync changes nothing. `silent_accounts` show no instances; `other_side` are the instances whose tags ask
    for the pair from the other side."""
    detail = "no tag asks for this pair, and no rule of it carries a tag's claim"
    if silent_accounts:
        listed = ", ".join(silent_accounts)
        detail = (
            f"no tag that can be read asks for this pair, but {listed} shows no instances, so nothing is removed there"
        )
    elif other_side:
        detail = f"no tag of this side asks for the pair; the other side's does ({', '.join(other_side)})"
    return remark(detail)


def equal_to(event_id: str) -> Denial:
    """Why a message has no changes of its own: an equal one of its batch was carried out, or put back, for both."""
    return remark(f"it asks for the same as message {event_id} of its batch, whose outcome counts for both")


def in_detail(denial: Denial, requests: Sequence[str], *, is_kept: bool, members: Collection[str] = ()) -> Denial:
    """Why a rule loses claims, naming the requests among them, the instances of a link by address that it is about, and
    whether other claims keep the rule."""
    detail = denial.detail
    members = [member for member in members if member not in detail]
    if members:
        suffix = f" and {len(members) - _MAX_INSTANCE_NAMES} more" if len(members) > _MAX_INSTANCE_NAMES else ""
        detail += f", for {', '.join(sorted(members)[:_MAX_INSTANCE_NAMES])}{suffix}"
    if requests:
        detail += f" (of {', '.join(sorted(requests))})"
    if is_kept:
        detail += "; the rule is kept, since other claims want it"
    return msgspec.structs.replace(denial, detail=detail)


def still_standing(denial: Denial, sides: Sequence[str]) -> Denial:
    """Why rules went, with what is left of the link on other sides: see `side_left` and `side_unread`."""
    return msgspec.structs.replace(denial, detail="; ".join([denial.detail, *sides]))


def standing_ports(ports: Collection[Port]) -> list[str]:
    """What stays of a wish that is denied as a whole, in words: the ports of rules that it asks for, and that may
    stand."""
    return [f"what stands stays: {', '.join(sorted(map(str, ports)))}"] if ports else []


def not_read(written_peers: Collection[str]) -> list[str]:
    """The peers of tags that ask for nothing, since they cannot be read, in words."""
    return (
        [f"in a tag cannot be read: {', '.join(sorted(written_peers)[:_MAX_INSTANCE_NAMES])}"] if written_peers else []
    )


def read_in_part(group: object) -> Denial:
    """What an event says of a rule whose tag's claim may have ended, where the group of those who may ask has many
    instances."""
    return remark(
        f"no instance of {group} that was read asks for it: the account's next full sweep reads all of them, and decides"
    )


def side_left(group: object, problem: str, *, is_known: bool) -> str:
    """A group on which a rule that should go was not removed; `is_known` is false where the last call got no answer."""
    return f"the rule on {group} {'still stands' if is_known else 'may still stand'}: {problem}"


def side_unread(where: str, problem: str) -> str:
    """An account or group that may hold the other side of what goes, and was not read."""
    return f"what still stands on {where} is not known: {problem}"


def repaired(priority: int, ours: int) -> Denial:
    """What a repair does: someone changed the priority of a rule of ours, or copied it."""
    if priority == ours:
        return remark("a copy of it with another priority is removed")
    return remark(f"its priority was {priority}, and is {ours} again")


def displaced(priority: int) -> Denial:
    """Why a rule of ours with another priority is removed: a person's equal rule has the priority that ours should
    have."""
    detail = (
        f"its priority was {priority}, where it would win over an operator's drop, and a person's equal rule stands"
    )
    return Denial(reasons.HUMAN_RULE, detail)


def tag_was_missing(group: object) -> Denial:
    """What a repair of a group does that holds rules of ours without the managed tag."""
    return remark(f"{group} had lost the tag by which the sweep finds it")


_ROOM = "have the quota raised, or remove rules that are not needed; of links, this lists them: link-peer links --party {group}"


def _full(detail: str, advice: str) -> Denial:
    return Denial(reasons.QUOTA, detail, advice, outcome="failed")


def description_full(group: object) -> Denial:
    """A rule whose description cannot hold one more claim."""
    detail = "the rule's description has no room for another claim (512 characters)"
    advice = f"unlink requests that are no longer needed; this lists them: link-peer links --party {group}"
    return _full(detail, advice)


def group_full(group: object, named_groups: int, limit: int) -> Denial:
    """A group whose rules name as many groups as are allowed."""
    detail = f"the rules of {group} name {named_groups} groups already (the limit is {limit})"
    advice = (
        f"name instances (i-…), or remove rules that are not needed; of links, this lists them: "
        f"link-peer links --party {group}"
    )
    return _full(detail, advice)


def rules_full(group: object, count: int, limit: int) -> Denial:
    """A group with as many rules as any document allows."""
    return _full(f"{group} has {count} rules already (the limit is {limit})", _ROOM.replace("{group}", str(group)))


def removals_held(account: str, count: int, limit: int) -> Denial:
    """More removals at once than the policy allows, only because an account does not show something."""
    detail = (
        f"{count} rules would be removed only because account {account} does not show an instance or group, and at most "
        f"{limit} may be removed for that in one run, short sweeps after it included: none was removed"
    )
    advice = "raise limits.removals_per_run if they may be removed; this lists them: link-peer sweep --dry-run"
    return Denial(reasons.REMOVALS_HELD, detail, advice)


# what ECS refuses for good, by its error code


_CHECK_ID = "check the ids, the accounts and the region"
_CODES: dict[str, Denial] = {
    "AuthorizedGroupRule.LimitExceed": _full(
        "the group holds as many rules that name groups as allowed", f"name instances (i-…) instead of groups, {_ROOM}"
    ),
    "AuthorizationLimitExceed": _full("the group holds as many rules as allowed", _ROOM),
    "OperationDenied.QuotaExceed": _full("the group holds as many tags as allowed", "remove a tag from the group"),
    **dict.fromkeys(
        ("InvalidSourceGroupId.NotFound", "InvalidSourceGroup.NotFound"),
        Denial(reasons.PEER_NOT_FOUND, "the source group does not exist", _CHECK_ID),
    ),
    **dict.fromkeys(
        ("InvalidSecurityGroupId.NotFound", "InvalidResourceId.NotFound"),
        Denial(reasons.PEER_NOT_FOUND, "the group does not exist", _CHECK_ID),
    ),
    "InvalidSourceGroupId.Mismatch": Denial(
        reasons.DIFFERENT_VPC,
        "the two groups are not in one VPC",
        f"name instances (i-…) instead of groups; {NO_ROUTE}",
    ),
    "InvalidGroupAuthParameter.OperationDenied": Denial(
        reasons.ADVANCED_GROUP, "the source is an advanced group", NAME_PORTS
    ),
    "InvalidGroupParameter.OperationDenied": Denial(
        reasons.ADVANCED_GROUP, "the group is an advanced group", NAME_PORTS
    ),
    "InvalidOperation.ResourceManagedByCloudProduct": Denial(
        reasons.MANAGED_GROUP, "the group is managed by a cloud product", OWN_GROUP
    ),
    **dict.fromkeys(
        (
            "InvalidNetworkType.Mismatch",
            "InvalidNetworkType.Conflict",
            "InvalidSecurityGroup.InvalidNetworkType",
        ),
        Denial(reasons.CLASSIC_NETWORK, "one side is in the classic network", USE_VPC),
    ),
    "VPCDisabled": Denial(reasons.CLASSIC_NETWORK, "the group is in no VPC", USE_VPC),
    **dict.fromkeys(
        ("InvalidSecurityGroup.IsSame", "InvalidParamter.Conflict"),  # of egress and of ingress; the API spells it so
        Denial(reasons.SAME_GROUP, "both sides are one group"),
    ),
}
"""Error codes of ECS's security group and tag APIs that are final for a link [doc AuthorizeSecurityGroup,
TagResources]."""
ALREADY_GONE = frozenset(
    {
        "InvalidParam.SecurityGroupRuleId",
        "SecurityGroupRule.NotFound",
        "InvalidSecurityGroupRule.RuleNotExist",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroupAuthItem.NotFound",
    }
)
"""Error codes that probably mean the rule is gone already. Reading the group again decides."""


def managed_tag_refused(where: object, code: str) -> str:
    """What a record adds where the managed tag of an account's groups, or of one group, cannot be written or
    removed."""
    return (
        f"managed tags of {where} are refused ({code}): its groups are found by the sweep's look at all groups with rules, "
        "within a day; see its role: link-peer doctor"
    )


def written_as_drop(group: object, standing_ids: Sequence[str]) -> Denial:
    """A rule that drops what it was written to admit. Those that stand were there before."""
    if standing_ids:
        detail = f"{group}: {', '.join(standing_ids)} drops what the link needs, with a description of link-peer"
        return _not_allowed(detail, "delete it, or change it back to accept; this lists it: link-peer sweep --dry-run")
    detail = f"{group}: ECS wrote a rule of the link as drop instead of accept; it was removed again"
    return _not_allowed(detail, "report it, with the RequestId, as a bug in link-peer")


def refused_by_ecs(group: object, code: str, message: str) -> Denial:
    """A change that ECS refuses for good. An unknown code is `not-allowed`: malformed, or a state of the account."""
    look_up = (
        "look the code up: it may be a state of the account; else report it, with the RequestId, as a bug in link-peer"
    )
    row = _CODES.get(code, _not_allowed("ECS refuses the change", look_up))
    detail, advice = f"{group}: {row.detail} ({code}: {message})", row.advice.replace("{group}", str(group))
    return msgspec.structs.replace(row, detail=detail, advice=advice)
