"""The marker: the Description that makes a rule ours, and lists its claims.

    link-peer/1 dep=prod id=daed3c026b1eb6c4 by=tag,req:chg-1042~20270101T000000Z
    link-peer/1 dep=prod id=… by=tag from=i-… to=i-…@<uid>                          (instance rules)

Anyone who may write rules may write such a text. So it counts only where it has exactly this form and its id is the hash
of this very rule: a marker copied to another rule means nothing.
"""

from __future__ import annotations

import re

from link_peer.domain.errors import BadInput
from link_peer.domain.model import TAG, Claim, Marker, Party, Rule
from link_peer.domain.tags import compact, is_account_uid, is_instance_id, parse_compact

MAX_LENGTH = 512
"""Longest Description of a rule [doc AuthorizeSecurityGroup]."""

# Pieces are cut at spaces and commas first, then matched: no pattern repeats a group.
_MARKER = re.compile(
    r"link-peer/1 dep=([a-z0-9-]{1,32}) id=([0-9a-f]{16}) by=([!-~]{1,512})"
    r"(?: from=([a-z0-9@-]{1,100}) to=([a-z0-9@-]{1,100}))?"
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,48}")


def is_request_id(text: str) -> bool:
    return _REQUEST_ID.fullmatch(text) is not None


def render(marker: Marker, home: str) -> str:
    """The Description. `home` is the function's own account: an end in another account is written with its `@<uid>`."""
    text = f"link-peer/1 dep={marker.deployment} id={marker.id} by={','.join(map(_claim, _sorted(marker.claims)))}"
    if marker.ends:
        source, target = (end.id if end.account == home else str(end) for end in marker.ends)
        text += f" from={source} to={target}"
    return text


def fits(text: str) -> bool:
    """Whether a Description can hold the text; one that no longer fits is `failed`, `quota`."""
    return len(text) <= MAX_LENGTH


def parse(description: str, home: str) -> Marker | None:
    """The marker in a Description, or None for any other text. Claims come sorted."""
    match = _MARKER.fullmatch(description) if fits(description) else None
    if match is None:
        return None
    try:
        claims = [_parse_claim(piece) for piece in match[3].split(",")]
        ends = (_parse_end(match[4], home), _parse_end(match[5], home)) if match[4] else None
    except BadInput:
        return None
    if len({claim.request for claim in claims}) < len(claims):
        return None
    return Marker(match[1], match[2], _sorted(tuple(claims)), ends)


def owned(rule: Rule, deployment: str, region: str, home: str) -> Marker | None:
    """The marker of a rule that is ours, else None: such a rule is a person's, and is never changed or removed."""
    if rule.key is None or rule.policy != "accept":
        return None
    marker = parse(rule.description, home)
    if marker is None or marker.deployment != deployment or marker.id != rule.key.id(deployment, region):
        return None
    # Only instance rules have a destination, and only they have ends.
    return marker if bool(rule.key.dest) == (marker.ends is not None) else None


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


def _parse_end(text: str, home: str) -> Party:
    name, at, account = text.partition("@")
    # An account is written only where it is not home: one spelling for each marker.
    if not is_instance_id(name) or (at and (not is_account_uid(account) or account == home)):
        raise BadInput("ends", "not i-… or i-…@<uid>")
    return Party(account if at else home, name)
