"""Reasons and denials: each error code of ECS has a reason; advice is words, a command, or both."""

from __future__ import annotations

import pytest
from link_peer.domain import denials, reasons
from link_peer.domain.denials import Denial, parts, refused_by_ecs
from link_peer.domain.model import Party
from link_peer.domain.reasons import REASONS

GROUP = Party("1000000000000001", "sg-db")


def test_every_row_has_a_meaning_and_a_remedy() -> None:
    """Under a code of its own."""
    rows = [row for row in vars(reasons).values() if isinstance(row, reasons.Reason) and row.code]
    assert list(REASONS.values()) == rows
    assert all(row.meaning and row.remedy for row in rows)


@pytest.mark.parametrize(
    ("ecs_code", "code"),
    [
        ("AuthorizedGroupRule.LimitExceed", "quota"),
        ("AuthorizationLimitExceed", "quota"),
        ("OperationDenied.QuotaExceed", "quota"),
        ("InvalidSourceGroupId.NotFound", "peer-not-found"),
        ("InvalidSourceGroup.NotFound", "peer-not-found"),
        ("InvalidSecurityGroupId.NotFound", "peer-not-found"),
        ("InvalidResourceId.NotFound", "peer-not-found"),
        ("InvalidSourceGroupId.Mismatch", "different-vpc"),
        ("InvalidGroupAuthParameter.OperationDenied", "advanced-group"),
        ("InvalidGroupParameter.OperationDenied", "advanced-group"),
        ("InvalidOperation.ResourceManagedByCloudProduct", "managed-group"),
        ("InvalidNetworkType.Mismatch", "classic-network"),
        ("InvalidNetworkType.Conflict", "classic-network"),
        ("InvalidSecurityGroup.InvalidNetworkType", "classic-network"),
        ("VPCDisabled", "classic-network"),
        ("InvalidSecurityGroup.IsSame", "same-group"),
    ],
)
def test_a_refusal_by_ecs_has_a_code_and_names_what_ecs_said(ecs_code: str, code: str) -> None:
    """The detail names the group, the error code and the message. Only what is full fails; every other refusal is `denied`."""
    denial = refused_by_ecs(GROUP, ecs_code, "words of ECS")
    assert (denial.reason.code, denial.outcome) == (code, "failed" if code == "quota" else "denied")
    assert denial.detail.startswith(f"{GROUP}: ")
    assert denial.detail.endswith(f"({ecs_code}: words of ECS)")


def test_an_error_code_that_is_not_known_is_not_allowed() -> None:
    """With the advice to look it up. Such a change is refused for good, and must not be redelivered for ever."""
    denial = refused_by_ecs(GROUP, "Strange.Code", "words of ECS")
    assert (denial.reason.code, denial.outcome) == ("not-allowed", "denied")
    assert denial.advice.startswith("look the code up")


@pytest.mark.parametrize(
    ("requests", "kept", "detail"),
    [
        ([], False, "the link has ended"),
        (["chg-2", "chg-1"], False, "the link has ended (of chg-1, chg-2)"),
        ([], True, "the link has ended; the rule is kept, since other claims want it"),
    ],
)
def test_a_removal_names_its_requests_and_whether_the_rule_is_kept(
    requests: list[str], kept: bool, detail: str
) -> None:
    """Code and advice stay those of the cause."""
    found = denials.in_detail(denials.CLAIM_EXPIRED, requests, kept=kept)
    assert (found.reason.code, found.detail, found.advice) == ("expired", detail, denials.CLAIM_EXPIRED.advice)


@pytest.mark.parametrize(
    ("denial", "code", "detail", "advice"),
    [
        (
            denials.locked(GROUP, "link-lock", "by hand", own=True),
            "locked",
            f"{GROUP} carries the tag link-lock",
            f"remove the tag link-lock from {GROUP}",
        ),
        (denials.isolated_group(GROUP, advanced=True), "isolated-group", str(GROUP), "name instances (i-…)"),
        (denials.public_address("i-a", "8.8.8.8"), "address-conflict", "8.8.8.8", "private address"),
        (denials.address_out_of_range("i-a", "10.9.0.1", ["10.0.0.0/16"]), "address-conflict", "10.0.0.0/16", "ranges"),
        (denials.address_in_target_vpc("i-a", "10.0.0.1", "vpc-1"), "address-conflict", "vpc-1", "does not use"),
        (denials.address_of_another("i-a", "i-c"), "address-conflict", "for i-c", "different addresses"),
        (denials.id_in_use("chg-1"), "id-in-use", "chg-1", "new request_id"),
        (denials.half_open(GROUP), "half-open", f"the rule on {GROUP} is missing", "post the request again"),
        (denials.too_many_peers(50), "not-allowed", "50 peers", "remove peers"),
        (
            denials.until_not_allowed(7, "2027-01-01T00:00:00Z"),
            "not-allowed",
            "at most 7 days",
            "until of at most 7 days",
        ),
        (denials.wrong_queue("1", "requests-b"), "not-allowed", "account 1", "requests-b"),
        (denials.not_its_queue("requests-b", "1"), "not-allowed", "requests-b", "the account it speaks for"),
        (denials.not_home("2"), "not-allowed", "2 is not it", "send a sync"),
        (denials.group_full(GROUP, 20, 20), "quota", "name 20 groups already", "name instances"),
        (denials.removals_held("1", 60, 50), "removals-held", "60 rules", "link-peer stale"),
    ],
)
def test_a_denial_says_what_decided_and_what_to_do(denial: Denial, code: str, detail: str, advice: str) -> None:
    """With the names that it is about."""
    assert denial.reason.code == code
    assert detail in denial.detail
    assert advice in denial.advice


@pytest.mark.parametrize(
    ("written", "name", "means"),
    [
        ("rm-bp1db", "rm-bp1db", "the IP whitelist of the RDS instance"),
        ("r-bp1cache:tcp/6379", "r-bp1cache", "the IP whitelist of the Redis instance"),
        ("lb-bp1front@1000000000000002", "lb-bp1front", "the access control lists of the load balancer's listeners"),
    ],
)
def test_a_peer_of_another_product_is_left_to_the_means_of_its_owner(written: str, name: str, means: str) -> None:
    """Without a command: what it opened would be recorded nowhere, and nothing would close it."""
    denial = denials.bad_tag("problem", written, "10.0.0.1")
    assert (denial.reason.code, denial.detail) == ("bad-tag", "problem")
    assert (
        f"about {name}, so link-peer neither opens nor closes access to it; its owner admits 10.0.0.1 by {means}"
        in denial.advice
    )
    assert parts(denial.advice)[1] == ""


@pytest.mark.parametrize("written", ["rm-", "rm-bp1;reboot", "rm-BP1", "xrm-bp1", "r-bp1 x", "sg-", "", "rm-\u202eabc"])
def test_nothing_else_is_put_into_the_advice(written: str) -> None:
    assert "its owner" not in denials.bad_tag("problem", written).advice


# advice


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
