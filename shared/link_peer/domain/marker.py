"""The marker: the Description that makes a rule ours, and lists its claims.

    link-peer/2 dep=prod home=1000000000000001 id=0f4701091c58a844 by=tag,req:chg-1042~20270101T000000Z
    link-peer/2 dep=prod home=… id=… by=tag from=i-… to=i-…@<uid>                   (between instances)
    link-peer/2 dep=prod home=… id=… by=tag from=i-… of=sg-…                        (by address, for a group)
    link-peer/2 dep=prod home=… id=… by=tag to=i-… of=sg-…                          (egress, to an instance of a group)
    link-peer/2 dep=prod home=… id=… by=tag to=i-…                                  (egress, to an instance that the link names)

Anyone who may write rules may write such a text. So it counts only where it has exactly this form and its id is the
hash of this very rule: a marker copied to another rule means nothing.
"""  # noqa: W505

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import msgspec

from link_peer.domain.errors import BadInput
from link_peer.domain.model import TAG, Claim, Marker, Party, Rule, RuleKey
from link_peer.domain.tags import compact, is_account_uid, is_group_id, is_instance_id, parse_compact

MAX_LENGTH = 512
"""Longest Description of a rule [doc AuthorizeSecurityGroup]."""

# Pieces are cut at spaces and commas first, then matched: no pattern repeats a group.
_MARKER = re.compile(
    r"link-peer/2 dep=(?P<dep>[a-z0-9-]{1,32}) home=(?P<home>[0-9]{15,20}) id=(?P<id>[0-9a-f]{16}) by=(?P<by>[!-~]{1,512})"
    r"(?: (?P<ends>from=[a-z0-9@-]{1,100} (?:to|of)=[a-z0-9@-]{1,100}|to=[a-z0-9@-]{1,100}(?: of=[a-z0-9@-]{1,100})?))?"
)
_KINDS = {"from": is_instance_id, "to": is_instance_id, "of": is_group_id}
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,48}")


def is_request_id(text: str) -> bool:
    return REQUEST_ID.fullmatch(text) is not None


def render(marker: Marker) -> str:
    """The Description. An end in another account than home is written with its `@<uid>`."""
    text = f"link-peer/2 dep={marker.deployment} home={marker.home} id={marker.id}"
    text += f" by={claims_text(marker.claims)}"
    if marker.ends:
        first, second = (end.id if end.account == marker.home else str(end) for end in marker.ends)
        text += f" {'to' if marker.is_egress else 'from'}={first}"
        if marker.ends[1].is_group:
            text += f" of={second}"
        elif not marker.is_egress:
            text += f" to={second}"
    return text


def claims_text(claims: tuple[Claim, ...]) -> str:
    """`tag,req:chg-1042~20270101T000000Z`."""
    return ",".join(map(_claim, _sorted(claims)))


def claims_in(text: str) -> tuple[Claim, ...]:
    """The claims of such a text. Raises BadInput."""
    return _sorted(tuple(map(_parse_claim, text.split(","))))


def fits(marker: Marker) -> bool:
    """Whether a Description can hold the marker. Room for the tag's claim is always kept, so that requests cannot keep
    an instance's tag out."""
    return len(render(msgspec.structs.replace(marker, claims=(*{TAG, *marker.claims},)))) <= MAX_LENGTH


def joined(marker: Marker, copy: Marker) -> Marker:
    """The marker with the claims of a copy of its rule, so that none is lost with the copy: one claim for each request,
    and those of the same instances alone, as far as there is room."""
    mine = {claim.request for claim in marker.claims}
    added = tuple(claim for claim in copy.claims if claim.request not in mine)
    merged = msgspec.structs.replace(marker, claims=_sorted((*marker.claims, *added)))
    return merged if added and copy.ends == marker.ends and fits(merged) else marker


@functools.lru_cache(maxsize=32_768)  # a sweep asks about each rule a dozen times
def parse(description: str) -> Marker | None:
    """The marker in a Description, or None for any other text. Claims come sorted."""
    match = _MARKER.fullmatch(description) if len(description) <= MAX_LENGTH else None
    if match is None:
        return None
    home = match["home"]
    try:
        claims = claims_in(match["by"])
        ends = _parse_ends(match["ends"], home) if match["ends"] else None
    except BadInput:
        return None
    if len({claim.request for claim in claims}) < len(claims):
        return None
    return Marker(home, match["dep"], match["id"], claims, ends, is_egress=(match["ends"] or "").startswith("to="))


def owned(rule: Rule, deployment: str, region: str, home: str) -> Marker | None:
    """The marker of a rule that is ours, else None: such a rule is a person's, and is never changed or removed."""
    if rule.key is None or rule.policy != "accept":
        return None
    marker = parse(rule.description)
    if marker is None or (marker.home, marker.deployment) != (home, deployment):
        return None
    if marker.id != rule.key.id(home, deployment, region):
        return None
    return marker if _has_form(marker, rule.key) else None


def deployment_named(description: str, home: str) -> str | None:
    """The deployment of this home that a description names, whether it is that rule's marker (`owned`) or not: someone
    may have added a note to it, or copied it. Empty where it names the home alone; None where it does not name it."""
    words = description.split(" ")
    if not words[0].startswith("link-peer/") or f"home={home}" not in words:
        return None
    return next((word.removeprefix("dep=") for word in words if word.startswith("dep=")), "")


def damaged(rule: Rule, deployment: str, region: str, home: str) -> bool:
    """Whether a rule's description names this deployment and home, but is not the marker of this rule. Such a rule is
    left alone and reported."""
    return deployment_named(rule.description, home) == deployment and owned(rule, deployment, region, home) is None


def _sorted(claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
    """The tag first, then requests by id. A marker has one claim for each id."""
    return tuple(sorted(claims, key=lambda claim: claim.request))


def _claim(claim: Claim) -> str:
    if claim.is_tag:
        return "tag"
    return f"req:{claim.request}" + (f"~{compact(claim.until)}" if claim.until is not None else "")


def _parse_claim(text: str) -> Claim:
    if text == "tag":
        return TAG
    request, tilde, until = text.removeprefix("req:").partition("~")
    if not text.startswith("req:") or not is_request_id(request):
        raise BadInput("by", "not tag, req:<id> or req:<id>~<until>")
    return Claim(request, parse_compact(until) if tilde else None)


def _has_form(marker: Marker, key: RuleKey) -> bool:
    """Whether a rule of this kind carries such a marker: by direction, whether it names an address, and whether it has
    a destination beside its source."""
    between_instances = marker.ends is not None and not marker.ends[1].is_group
    return (
        marker.is_egress == key.is_egress
        and (marker.ends is not None) == key.by_address
        and (key.is_egress or between_instances == bool(key.dest))
    )


def _parse_ends(text: str, home: str) -> tuple[Party, Party]:
    words = dict(word.split("=") for word in text.split(" "))
    ends = [_parse_end(word, home, _KINDS[name]) for name, word in words.items()]
    if "of" in words and ends[0].account != ends[1].account:
        raise BadInput("ends", "an instance is in groups of its own account")
    return ends[0], ends[-1]


def _parse_end(text: str, home: str, is_id: Callable[[str], bool]) -> Party:
    name, at, account = text.partition("@")
    # An account is written only where it is not home: one spelling for each marker.
    if not is_id(name) or (at and (not is_account_uid(account) or account == home)):
        raise BadInput("ends", "not an id, or an id with @<uid>")
    return Party(account if at else home, name)
