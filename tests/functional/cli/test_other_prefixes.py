"""Roles of link-peer cannot write the consent of another deployment in an account beside a tag that they may write."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from aliyun_local.api import Access
from link_peer_deploy.documents import MAX_POLICY

from tests.functional.command import Cli, use_keys, write_profiles
from tests.functional.lab import HOME, PEER, Lab

FUNCTION, OPERATOR = (f"acs:ram::{HOME}:role/link-peer-{name}" for name in ("fc", "operator"))
PEER_ROLE, CLOSER = (f"acs:ram::{PEER}:role/link-peer{name}" for name in ("", "-closer"))
OWN_TAG = {
    FUNCTION: f"link-managed.prod.{HOME}",
    PEER_ROLE: f"link-managed.prod.{HOME}",
    OPERATOR: "link-lock",
    CLOSER: "link-lock",
}
CONSENT = [
    f"{name}{end}"
    for name, count in (("accept", 9), ("egress", 3))
    for end in ["", *(f".{n}" for n in range(2, count + 1))]
]


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """What setup makes, before another deployment's tags are in either account."""
    lab.cloud.knobs.request_tags = True
    use_keys(lab.cloud, monkeypatch, HOME)
    write_profiles(lab, monkeypatch, tmp_path, {"peer": PEER})
    cli = Cli(capsys)
    assert cli("setup", "--yes") == 0, cli.err
    return cli


def writable(lab: Lab, role: str, prefix: str) -> set[str]:
    """The consenting keys of a prefix that go along with the role's own tag, where it puts tags on a group or takes
    them off."""
    identity, account = lab.cloud.identity, role.split(":")[3]
    caller = identity.issue(identity.roles[role], "test", lab.cloud.clock.now() + 3600, mfa=True).caller
    return {
        f"{prefix}-{key}"
        for key in CONSENT
        for action in ("ecs:TagResources", "ecs:UntagResources")
        if identity.permitted(
            caller,
            Access(
                action,
                [f"acs:ecs:cn-qingdao:{account}:securitygroup/sg-x"],
                {f"acs:RequestTag/{tag}": ["*"] for tag in (OWN_TAG[role], f"{prefix}-{key}")},
            ),
        )
    }


def documents(lab: Lab, account: str) -> dict[str, str]:
    """The custom policies of an account."""
    return {name: policy.document for (uid, name), policy in lab.cloud.identity.policies.items() if uid == account}


def test_setup_denies_the_consent_of_each_prefix_that_it_finds(lab: Lab, cli: Cli) -> None:
    """In tags of groups, of home's two roles that write tags. It stays denied when the tag is gone: another region may
    have it."""
    assert len(writable(lab, FUNCTION, "acme")) == len(writable(lab, OPERATOR, "acme")) == len(CONSENT)
    group = lab.group(tags={"acme-accept.2": "*"})
    assert cli("setup", "--yes") == 0, cli.err
    assert "~ policy link-peer-fc: document" in cli.out
    for role in (FUNCTION, OPERATOR):
        assert writable(lab, role, "acme") == set()
        assert len(writable(lab, role, "other")) == len(CONSENT)  # which appears later: accepted
    group.tags.change(lab.cloud.clock.now(), lambda _: {})
    assert cli("setup", "--yes") == 0
    assert "Nothing to change" in cli.out
    assert writable(lab, FUNCTION, "acme") == set()


def test_prefixes_that_no_role_can_hold_are_named(lab: Lab, cli: Cli) -> None:
    """Four are denied, those on the most groups, in policies that RAM takes; whoever may tag groups can make up
    more."""
    for number in range(6):
        for _ in range(number + 1):
            lab.group(tags={f"p{number}-managed.x.{HOME}": "true"})
    assert cli("setup", "--yes") == 0, cli.err
    problem = "the tag prefixes p1, p0 are not denied, since 4 are"
    assert f"account {HOME}: {problem}" in cli.err
    [finding] = [finding for finding in cli.json("doctor", "--platform")[1] if finding["what"] == "tag prefixes"]
    assert (finding["state"], finding["where"], finding["detail"].partition(":")[0]) == ("warning", HOME, problem)
    assert [bool(writable(lab, FUNCTION, f"p{number}")) for number in range(6)] == [True, True, *[False] * 4]
    assert all(len(document) <= MAX_POLICY for document in documents(lab, HOME).values())
    assert all(len(lab.cloud.identity.roles[role].attached) <= 5 for role in (FUNCTION, OPERATOR))


def test_what_is_denied_stays_when_the_groups_cannot_be_read(lab: Lab, cli: Cli) -> None:
    """And setup says that it does not know every prefix."""
    lab.group(tags={"acme-accept": "*"})
    assert cli("setup", "--yes") == 0
    lab.fault(service="ecs", action="DescribeSecurityGroups", code="Forbidden.RAM", status=403, times=None)
    assert cli("setup", "--yes") == 0
    assert f"account {HOME}: not every tag prefix in it is known" in cli.err
    assert writable(lab, FUNCTION, "acme") == set()


def test_doctor_names_a_prefix_that_is_not_denied(lab: Lab, cli: Cli) -> None:
    """Of home until setup denies it; of another account that what is denied there is not seen."""
    for account in (HOME, PEER):
        lab.group(account=account, tags={"acme-egress": "*"})

    def denied_prefixes() -> list[tuple[str, str, str]]:
        _, findings = cli.json("doctor", "--platform")
        return [(f["state"], f["where"], f["what"]) for f in findings if f["what"] in ("tags acme-…", "tag prefixes")]

    in_peer = ("warning", PEER, "tag prefixes")
    assert denied_prefixes() == [("differs", HOME, "tags acme-…"), in_peer]
    assert cli("setup", "--yes") == 0
    assert denied_prefixes() == [in_peer]


def test_an_account_s_roles_are_denied_the_prefixes_there_and_at_home(lab: Lab, cli: Cli) -> None:
    """With keys of the account, or by the commands that its owner runs, which say the same."""
    lab.group(tags={"acme-accept": "*"})
    lab.group(account=PEER, tags={"ops-accept": "*"})
    assert cli("account", "add", PEER, "--profile", "peer") == 0, cli.err
    for prefix in ("acme", "ops"):
        assert writable(lab, PEER_ROLE, prefix) == writable(lab, CLOSER, prefix) == set()
    _, [addition] = cli.json("account", "add", PEER)
    creations = [words for words in map(shlex.split, addition["commands"]) if words[2] == "CreatePolicy"]
    printed = {words[4]: json.loads(words[6]) for words in creations}
    standing = {name: json.loads(document) for name, document in documents(lab, PEER).items()}
    assert printed == {name: standing[name] for name in printed}
    assert {"link-peer-2", "link-peer-closer"} <= printed.keys()
    assert addition["ros"] == ""  # its template has one document for a role
    assert cli("account", "add", PEER) == 0
    assert "the ROS template has one document of 6,144 characters for a role" in cli.out
    assert cli("account", "add", PEER, "--profile", "peer") == 0
    _, [removal] = cli.json("account", "remove", PEER, "--yes")
    assert any("--PolicyName link-peer-2 " in f"{command} " for command in removal["commands"])
