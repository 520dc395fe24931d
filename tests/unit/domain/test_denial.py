"""Reason codes: each is described and documented, and each error code of ECS has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from link_peer.domain import denials
from link_peer.domain.denial import DESCRIPTIONS, UNSEEN, Denial, LinkDenied, ReasonCode
from link_peer.domain.denials import ALREADY_GONE, refused_by_ecs
from link_peer.domain.model import Party

DOCS = Path(__file__).parents[3] / "docs"
GROUP = Party("1000000000000001", "sg-db")


def documented(page: str) -> list[str]:
    """The first column of the table of reasons on a page."""
    table = (DOCS / page).read_text(encoding="utf-8").partition("| `no-consent` |")
    return re.findall(r"^\| `([a-z-]+)` \|", table[1] + table[2], re.MULTILINE)


def test_every_code_but_none_has_a_description() -> None:
    assert set(DESCRIPTIONS) == set(ReasonCode) - {ReasonCode.NONE}
    assert all(DESCRIPTIONS.values())


def test_the_codes_are_those_of_the_documentation() -> None:
    """The table in docs/requests.md has each once, in the order of the enum."""
    assert documented("requests.md") == [code.value for code in ReasonCode if code is not ReasonCode.NONE]


def test_a_code_is_written_as_its_value() -> None:
    """In records and messages."""
    assert (str(ReasonCode.NO_CONSENT), f"{ReasonCode.QUOTA}") == ("no-consent", "quota")


@pytest.mark.parametrize(
    ("ecs_code", "code"),
    [
        ("AuthorizedGroupRule.LimitExceed", ReasonCode.QUOTA),
        ("AuthorizationLimitExceed", ReasonCode.QUOTA),
        ("OperationDenied.QuotaExceed", ReasonCode.QUOTA),
        ("InvalidSourceGroupId.NotFound", ReasonCode.PEER_NOT_FOUND),
        ("InvalidSourceGroup.NotFound", ReasonCode.PEER_NOT_FOUND),
        ("InvalidSecurityGroupId.NotFound", ReasonCode.PEER_NOT_FOUND),
        ("InvalidResourceId.NotFound", ReasonCode.PEER_NOT_FOUND),
        ("InvalidSourceGroupId.Mismatch", ReasonCode.DIFFERENT_VPC),
        ("InvalidGroupAuthParameter.OperationDenied", ReasonCode.ADVANCED_GROUP),
        ("InvalidGroupParameter.OperationDenied", ReasonCode.ADVANCED_GROUP),
        ("InvalidOperation.ResourceManagedByCloudProduct", ReasonCode.MANAGED_GROUP),
        ("InvalidNetworkType.Mismatch", ReasonCode.CLASSIC_NETWORK),
        ("InvalidNetworkType.Conflict", ReasonCode.CLASSIC_NETWORK),
        ("InvalidSecurityGroup.InvalidNetworkType", ReasonCode.CLASSIC_NETWORK),
        ("VPCDisabled", ReasonCode.CLASSIC_NETWORK),
        ("InvalidSecurityGroup.IsSame", ReasonCode.SAME_GROUP),
    ],
)
def test_a_refusal_by_ecs_has_a_code_and_names_what_ecs_said(ecs_code: str, code: ReasonCode) -> None:
    """The detail names the group, the error code and the message."""
    denial = refused_by_ecs(GROUP, ecs_code, "words of ECS")
    assert denial.code is code
    assert denial.detail.startswith(f"{GROUP}: ")
    assert denial.detail.endswith(f"({ecs_code}: words of ECS)")


def test_an_error_code_that_is_not_known_is_not_allowed() -> None:
    """With the advice to look it up. Such a change is refused for good, and must not be redelivered for ever."""
    denial = refused_by_ecs(GROUP, "Strange.Code", "words of ECS")
    assert denial.code is ReasonCode.NOT_ALLOWED
    assert denial.advice.startswith("look the code up")


def test_a_code_of_a_rule_that_is_gone_is_no_refusal() -> None:
    """The two sets have no code in common: reading the group decides about those."""
    for code in ALREADY_GONE:
        assert refused_by_ecs(GROUP, code, "").code is ReasonCode.NOT_ALLOWED


@pytest.mark.parametrize("code", list(ReasonCode))
def test_only_a_full_quota_fails(code: ReasonCode) -> None:
    """Every other refusal is `denied`. Three codes say only that the cloud does not show something."""
    denial = Denial(code, "")
    assert denial.outcome == ("failed" if code is ReasonCode.QUOTA else "denied")
    assert denial.unseen == (code in UNSEEN)


def test_a_denied_link_says_why_in_its_message() -> None:
    denied = LinkDenied(denials.HUMAN_RULE)
    assert (denied.denial, str(denied)) == (
        denials.HUMAN_RULE,
        "human-rule: a person's rule already admits the same traffic",
    )


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
    assert (found.code, found.detail, found.advice) == (
        ReasonCode.EXPIRED,
        detail,
        denials.CLAIM_EXPIRED.advice,
    )


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
    assert denial.code.value == code
    assert detail in denial.detail
    assert advice in denial.advice


@pytest.mark.parametrize(
    ("written", "command"),
    [
        ("rm-bp1db", "aliyun rds ModifySecurityIps --DBInstanceId rm-bp1db "),
        ("r-bp1cache:tcp/6379", "aliyun r-kvstore ModifySecurityIps --InstanceId r-bp1cache "),
        (
            "lb-bp1front@1000000000000002",
            'aliyun slb AddAccessControlListEntry --AclId "<access control list of lb-bp1front>"',
        ),
    ],
)
def test_a_peer_of_another_product_gets_the_command_that_opens_it(written: str, command: str) -> None:
    """RDS, Redis and SLB have allow lists of their own."""
    denial = denials.bad_tag("problem", written)
    assert (denial.code, denial.detail) == (ReasonCode.BAD_TAG, "problem")
    assert command in denial.advice


@pytest.mark.parametrize("written", ["rm-", "rm-bp1;reboot", "rm-BP1", "xrm-bp1", "r-bp1 x", "sg-", "", "rm-\u202eabc"])
def test_nothing_else_is_put_into_a_command(written: str) -> None:
    assert "aliyun" not in denials.bad_tag("problem", written).advice
