"""Advice is words, a command, or both; what it says of a link is filled in once the link is known."""

from __future__ import annotations

import pytest
from link_peer.domain.advice import filled, parts
from link_peer.domain.denial import about
from link_peer.domain.denials import CLAIM_EXPIRED, HUMAN_RULE
from link_peer.domain.model import Link, Party
from link_peer.domain.tags import parse_ports

A, B = Party("1000000000000001", "i-a"), Party("1000000000000002", "i-b")
REGION = "cn-qingdao"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("", "")),
        ("wait until it runs", ("wait until it runs", "")),
        ("link-peer stale", ("", "link-peer stale")),
        ("this lists them: link-peer stale", ("this lists them", "link-peer stale")),
        (
            "tag sg-b k=sg-a:tcp/1: link-peer accept b a; link-peer x",
            ("tag sg-b k=sg-a:tcp/1", "link-peer accept b a; link-peer x"),
        ),
        ("post it: LINK_PEER_REGION=cn-x link-peer request", ("post it", "LINK_PEER_REGION=cn-x link-peer request")),
        ("open it: aliyun rds X --A b", ("open it", "aliyun rds X --A b")),
        ("ask who runs aliyun", ("ask who runs aliyun", "")),
    ],
)
def test_a_command_is_told_from_words(text: str, expected: tuple[str, str]) -> None:
    """It begins with a program's name, at the start or after a colon."""
    assert parts(text) == expected


@pytest.mark.parametrize(
    ("link", "action", "words"),
    [
        (Link(A, B), "link", f"link-peer request link --from {A} --to {B}"),
        (Link(B, A, parse_ports("tcp/1+udp/2-3")), "unlink", f"link-peer request unlink --from {B} --to {A} --port tcp/1 --port udp/2-3"),
    ],
)  # fmt: skip
def test_a_link_is_named_as_the_command_takes_it(link: Link, action: str, words: str) -> None:
    """With every port."""
    assert filled("link-peer request {action} {link}", action, link, REGION) == words


def test_the_region_is_named() -> None:
    """Where the advice has a place for it."""
    assert filled("--RegionId {region}", "link", Link(A, B), REGION) == "--RegionId cn-qingdao"


def test_a_denial_keeps_its_cause() -> None:
    """Only the advice is about one link; without any, it stays as it is."""
    found = about(CLAIM_EXPIRED, "expire", Link(A, B), REGION)
    assert (found.code, found.detail) == (CLAIM_EXPIRED.code, CLAIM_EXPIRED.detail)
    assert parts(found.advice)[1] == f"link-peer request link --from {A} --to {B}"
    assert about(HUMAN_RULE, "link", Link(A, B), REGION) == HUMAN_RULE
