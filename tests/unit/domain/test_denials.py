"""Reasons and denials: each error code of ECS has a reason; advice is words, a command, or both."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain import denials, reasons
from link_peer.domain.denials import (
    Candidate,
    Denial,
    Unaccepted,
    filled,
    no_consent,
    no_group_accepted,
    parts,
    refused_by_ecs,
)
from link_peer.domain.model import ALL, Link, Party
from link_peer.domain.reasons import REASONS
from link_peer.domain.tags import parse_ports

HOME, OTHER = "1000000000000001", "1000000000000002"
GROUP, INSTANCE = Party(HOME, "sg-db"), Party(HOME, "i-a")
NOTHING = "no rule between the two carries a request's claim"


def test_every_row_has_a_meaning_and_a_remedy() -> None:
    """Under a code of its own."""
    rows = [row for row in vars(reasons).values() if isinstance(row, reasons.Reason) and row.code]
    assert list(REASONS.values()) == rows
    assert all(row.meaning and row.remedy for row in rows)


@pytest.mark.parametrize(("party", "call"), [(GROUP, "DescribeSecurityGroups"), (INSTANCE, "DescribeInstances")])
def test_what_does_not_exist_is_looked_for_with_the_call_of_its_kind(party: Party, call: str) -> None:
    """By its id, with keys of its account."""
    advice = denials.peer_not_found(party).advice
    assert (f" {call} " in advice, f'["{party.id}"]' in advice) == (True, True)


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
        ("InvalidParamter.Conflict", "same-group"),
    ],
)
def test_a_refusal_by_ecs_has_a_code_and_names_what_ecs_said(ecs_code: str, code: str) -> None:
    """The detail names the group, the error code and the message. Only what is full fails; every other refusal is
    `denied`."""
    denial = refused_by_ecs(GROUP, ecs_code, "words of ECS")
    assert (denial.reason.code, denial.outcome) == (code, "failed" if code == "quota" else "denied")
    assert denial.detail.startswith(f"{GROUP}: ")
    assert denial.detail.endswith(f"({ecs_code}: words of ECS)")


def test_an_error_code_that_is_not_known_is_not_allowed() -> None:
    """With the advice to look it up. Such a change is refused for good, and must not be redelivered for ever."""
    denial = refused_by_ecs(GROUP, "Strange.Code", "words of ECS")
    assert (denial.reason.code, denial.outcome) == ("not-allowed", "denied")
    assert denial.advice.startswith("look the code up")


FIVE = [f"i-{n}" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({}, ""),
        ({"requests": ["chg-2", "chg-1"]}, " (of chg-1, chg-2)"),
        ({"is_kept": True}, "; the rule is kept, since other claims want it"),
        ({"members": FIVE[::-1]}, ", for i-1, i-2, i-3, i-4, i-5"),
        (
            {"members": {*FIVE, "i-6", "i-7"}, "requests": ["chg-1"]},
            ", for i-1, i-2, i-3, i-4, i-5 and 2 more (of chg-1)",
        ),
        ({"members": ["ended"]}, ""),  # which the cause names
    ],
)
def test_a_removal_names_its_requests_and_instances_and_whether_the_rule_is_kept(
    fields: dict[str, Any], detail: str
) -> None:
    """Of many instances, the first few. Code and advice stay those of the cause."""
    denial = denials.in_detail(denials.CLAIM_EXPIRED, **{"requests": [], "is_kept": False, **fields})
    assert denial.detail == f"the link has ended{detail}"
    assert (denial.reason.code, denial.advice) == ("expired", denials.CLAIM_EXPIRED.advice)


def unaccepted(*tags: str) -> Unaccepted:
    return Unaccepted(GROUP, Party(OTHER, "sg-app"), parse_ports("tcp/80+tcp/22"), tags, "sg-app:tcp/22+tcp/80")


def opened() -> Denial:
    return no_consent([unaccepted("k=v", "k.2=w")], by_tag=True)


END = "2026-11-26T00:00:00Z"
MISSING = f"{GROUP} has not accepted sg-app@{OTHER} on tcp/22+tcp/80"


def denial_texts() -> list[tuple[object, str]]:
    """What denials say, and what they must say."""
    return [
        (denials.left_out({}), ""),
        (denials.left_out(dict.fromkeys(FIVE, "x")), "not admitted: i-1: x; i-2: x; i-3: x; i-4: x; i-5: x"),
        (denials.left_out(dict.fromkeys(("i-6", *FIVE), "x")).partition("5: x")[2], "; and 1 more"),
        (opened().detail, MISSING),
        (opened().advice, f"tag {GROUP} k=v k.2=w: link-peer accept {GROUP} sg-app:tcp/22+tcp/80"),
        (no_consent([unaccepted()], by_tag=False).advice, "have the pair added to allow in the policy file"),
        (
            no_consent([unaccepted(), Unaccepted(GROUP, GROUP, (ALL,), ["k=v"], "sg-x")], by_tag=True).advice,
            f"{GROUP} has no consenting key left: join the entry to the value of one, or withdraw entries and "
            f"tag {GROUP} k=v: link-peer accept {GROUP} sg-app:tcp/22+tcp/80; link-peer accept {GROUP} sg-x",
        ),
        (no_consent([Unaccepted(GROUP, GROUP, (ALL,), [], "")], by_tag=True).detail[-9:], "all ports"),
        (
            no_group_accepted(GROUP, [Candidate(GROUP, denials.HUMAN_RULE, 1), Candidate(GROUP, opened(), 1)]).detail,
            f"{MISSING}; the groups of {GROUP} that could stand for it, smallest first: {GROUP} (1 instance; a person's rule "
            f"already admits the same traffic), {GROUP} (1 instance)",
        ),
        (denials.no_access_to_group(GROUP).detail, f"{GROUP} cannot be read or changed"),
        (denials.no_access_to_group(GROUP, "Forbidden").detail, f"{GROUP} cannot be read or changed: Forbidden"),
        (denials.no_access_to_group(GROUP).advice.rpartition(": ")[2], f"link-peer doctor {HOME}"),
        (denials.nothing_to_unlink([]).detail, NOTHING),
        (denials.nothing_to_unlink(["x", "y"]).detail, f"{NOTHING}; there are: x; y"),
        (denials.nothing_to_do([], []).detail, "no tag asks for this pair, and no rule of it carries a tag's claim"),
        (
            denials.nothing_to_do([], ["i-1", "i-2"]).detail,
            "no tag of this side asks for the pair; the other side's does (i-1, i-2)",
        ),
        (
            denials.nothing_to_do([OTHER], ["i-1"]).detail,
            f"no tag that can be read asks for this pair, but {OTHER} shows no instances, so nothing is removed there",
        ),
        (denials.same_group("sg-x", is_group=True), "same-group: sg-x is the instance's own group"),
        (denials.same_group("i-x", is_group=False), "same-group: it names itself"),
        (denials.side_left("sg-x", "y", is_known=True), "the rule on sg-x still stands: y"),
        (denials.side_left("sg-x", "y", is_known=False), "the rule on sg-x may still stand: y"),
        (denials.different_region("cn-x", "cn-y", is_look=True).advice[-17:], "rules of your own"),
        (denials.request_expired("expires_at", END), f"expired: expires_at {END} is past"),
        (denials.request_expired("expires_at", END).advice, f"post it again: {denials.POST_AGAIN}"),
        (
            denials.request_expired("until", END).advice,
            f"post it again with a later --until, or with none: {denials.POST_AGAIN}",
        ),
        (denials.id_in_use("chg-1").advice[-30:], denials.POST_AGAIN[-30:]),
        (denials.id_in_use("chg-1", END).advice[-50:], f"{denials.POST_AGAIN} --until {END}"[-50:]),
    ]


def test_what_a_denial_says() -> None:
    """Each of its forms, whole. `tests/functional/test_advice.py` follows the advice."""
    for denial, text in denial_texts():
        assert str(denial) == text


def test_advice_names_the_link_that_it_is_about() -> None:
    """The action and the region too, once it is known; advice without a link is as it is."""
    link = Link(GROUP, INSTANCE, parse_ports("tcp/1+udp/2"))
    denial = denials.about(denials.CLAIM_EXPIRED, "unlink", link, "cn-x")
    options = f"--from {GROUP} --to {INSTANCE} --port tcp/1 --port udp/2"
    assert denial.advice.endswith(f": link-peer request link {options}")
    assert filled("{action} in {region}", "sync", link, "cn-x") == "sync in cn-x"
    assert filled("nothing", "sync", link, "cn-x") == "nothing"


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
