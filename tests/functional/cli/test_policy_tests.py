"""`link-peer check --live` judges the policy's tests on the cloud."""

from __future__ import annotations

from typing import Any

import yaml

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, POLICY, Lab


def outcome(cli: Cli) -> tuple[int, list[tuple[bool | None, str]]]:
    """The exit code, and of each test whether it passed and why."""
    code, [checked_file] = cli.json("check", "--live")
    return code, [(test["passed"], test["why"]) for test in checked_file["tests"]]


def policy(lab: Lab, source: Any, *, accept: tuple[str, ...] = (), deny: tuple[str, ...] = (), **changes: Any) -> None:
    tests = {"from": f"{source.id}@{source.account}", "accept": list(accept), "deny": list(deny)}
    lab.policy(tests=[{name: value for name, value in tests.items() if value}], **changes)


def test_consent_is_read_from_the_cloud(lab: Lab, cli: Cli) -> None:
    """A tag makes an `accept` test pass and a `deny` test fail; no link need exist."""
    app, db = lab.group(), lab.group(account=PEER)
    link = f"{db.id}@{PEER}:tcp/3306"
    policy(lab, app, accept=(link,))
    code, [(passed, reason)] = outcome(cli)
    assert (code, passed, reason.partition(":")[0]) == (1, False, "no-consent")
    lab.tag(db, link_accept=f"{app.id}@{HOME}:tcp/3306")
    code, [(passed, reason)] = outcome(cli)
    assert (code, passed) == (0, True)
    assert f"link-accept={app.id}@{HOME}:tcp/3306" in reason
    policy(lab, app, deny=(link,))
    assert outcome(cli)[0] == 1
    assert lab.changes() == 0


def test_a_deny_test_counts_the_rules_of_people(lab: Lab, cli: Cli) -> None:
    """An address range that a person accepts lets the instance in; a drop before it does not."""
    app, db = lab.group(), lab.group()
    lab.instance(app)
    lab.instance(db)
    policy(lab, app, deny=(f"{db.id}@{HOME}:tcp/22",))
    assert outcome(cli)[0] == 0
    lab.authorize(db, IpProtocol="TCP", PortRange="20/30", SourceCidrIp="0.0.0.0/0", Priority="10")
    code, [(passed, reason)] = outcome(cli)
    assert (code, passed) == (1, False)
    assert reason.startswith("packets pass already: ")
    lab.authorize(db, IpProtocol="TCP", PortRange="22/22", SourceCidrIp="0.0.0.0/0", Priority="5", Policy="drop")
    assert outcome(cli)[0] == 0


def test_one_instance_that_gets_in_fails_a_deny_test(lab: Lab, cli: Cli) -> None:
    """Of many pairs one is enough, and one port of a range."""
    app, db, ops = lab.group(), lab.group(), lab.group()
    lab.instance(app)
    lab.instance(app, ops)
    lab.instance(db)
    lab.authorize(db, IpProtocol="TCP", PortRange="22/22", SourceGroupId=ops.id)
    policy(lab, app, deny=(f"{db.id}@{HOME}:tcp/20-30",))
    code, [(passed, reason)] = outcome(cli)
    assert (code, passed) == (1, False)
    assert "tcp/22" in reason


def test_a_mutual_deny_is_about_everything(lab: Lab, cli: Cli) -> None:
    """A person who opened one port did not join the groups."""
    app, db = lab.group(), lab.group()
    ids = [f"{group.id}@{HOME}" for group in (app, db)]
    lab.policy(tests=[{"from": source, "deny": [target]} for source, target in (ids, ids[::-1])])
    lab.authorize(db, IpProtocol="TCP", PortRange="443/443", SourceGroupId=app.id)
    assert outcome(cli)[0] == 0
    for code, (target, source) in enumerate(((db, app), (app, db))):
        lab.authorize(target, IpProtocol="ALL", PortRange="-1/-1", SourceGroupId=source.id)
        assert outcome(cli)[0] == code  # one way alone is no link


def test_what_cannot_be_read_passes_no_test(lab: Lab, cli: Cli) -> None:
    """Neither kind; exit code 1."""
    app, db = lab.group(), lab.group(account=PEER)
    link = f"{db.id}@{PEER}:tcp/1"
    policy(lab, app, accept=(link,), deny=(f"{db.id}@{PEER}:tcp/2",))
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    code, outcomes = outcome(cli)
    assert (code, [passed for passed, _ in outcomes]) == (1, [None, None])
    assert cli("check", "--live") == 1
    assert cli.out.count("and is unknown: ") == 2


def test_another_policy_can_be_tested(lab: Lab, cli: Cli, tmp_path: Any) -> None:
    """Before it is deployed. A policy without tests has none that fail."""
    app, db = lab.group(), lab.group("*")
    tests = [{"from": f"{app.id}@{HOME}", "deny": [f"{db.id}@{HOME}:tcp/23"]}]
    path = tmp_path / "proposed.yaml"
    path.write_text(yaml.safe_dump({**POLICY, "tests": tests}), encoding="utf-8")
    assert cli("check", "--live", str(path)) == 1
    assert "proposed.yaml: tests[0].deny[0]: " in cli.out
    path.write_text(yaml.safe_dump({**POLICY, "tests": tests, "deny": {"ports": ["tcp/23"]}}), encoding="utf-8")
    assert cli("check", "--live", str(path)) == 0
    first_line, last_line = cli.out.splitlines()
    assert first_line.startswith(f"tests[0].deny[0]: {app.id}@{HOME} -> {db.id}@{HOME}:tcp/23 is denied: ")
    assert last_line.endswith("valid, 2 accounts, 1 test holds")
    assert cli("check", "--live") == 0
    assert cli.out.endswith("valid, 2 accounts, 0 tests hold\n")
