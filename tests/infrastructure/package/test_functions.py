"""The functions, from the package alone: every sample is answered, every link is made, and faults are what they are
elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import auto_link
import cross_account
import pytest
import sweep
from aliyun_local.api import KINDS
from link_peer_deploy.instance import FUNCTIONS, FunctionInstance, HandlerError

from tests.functional.lab import HOME, PEER
from tests.infrastructure.package.conftest import PackageLab
from tests.infrastructure.package.deliveries import deliver, excess
from tests.sample import sample

pytestmark = pytest.mark.http

KILLS = {"kill", "kill-after"}  # over sockets the same as a reset
SPOILT = sorted(KINDS - KILLS - {"slow", "throttle"})
TROUBLE = sorted(KINDS - KILLS - {"slow"})
# For SLS and MNS a 200 means that the write was accepted, whatever its body. The one of SLS cannot even be truncated.
POST_TROUBLE = sorted(set(TROUBLE) - {"empty", "empty-after"})
WRITE_TROUBLE = sorted(set(POST_TROUBLE) - {"truncated-after"})

EVENTS = sorted((Path(__file__).resolve().parents[3] / "events").glob("*.json"))
TRIGGERS = {"queue": "cross_account", "timer": "sweep", "sweep": "sweep"}
ACCOUNTS = """
from link_peer.app import compose
from link_peer.runtime import retry, settings
compose.start()
from link_peer.alicloud import audit_log, mns, sdk, sls, sts
from link_peer.domain.errors import Transient
from link_peer.domain.model import Party
from link_peer.domain.request import look_request
from link_peer.runtime.clock import SystemClock
sdk.READ_TIMEOUT_MS, sls.TIMEOUT_SECONDS, mns.TIMEOUT_SECONDS = 1000, 1, 1
sts.CACHE.clear()
now, given = SystemClock(), settings.load()
once = retry.Retry(now, deadline=now.now())
accounts = sts.Accounts(given, compose.load_policy(given.policy_path, given.tag_prefix), now, once, "test")
def attempt(what):
    try:
        return repr(what())
    except Exception as error:
        return type(error).__name__
"""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_samples_are_answered(wire_lab: PackageLab, start: Callable[..., FunctionInstance], function: str) -> None:
    """The files of events/, with nothing imported that is not in the budget."""
    instance = start(wire_lab.cloud)
    mine = [path for path in EVENTS if TRIGGERS.get(path.stem.partition("-")[0], "auto_link") == function]
    for path in mine:
        assert set(deliver(instance, function, path.read_text(encoding="utf-8"))) <= {"denied", "unchanged"}, path.name
        assert excess(instance, function) == [], path.name
    assert mine


def test_a_look_is_posted_and_carried_out(wire_lab: PackageLab) -> None:
    """For an instance that the cloud does not show yet."""
    db = wire_lab.group("*")
    instance = wire_lab.instance(wire_lab.group(), tags={"link-peer": f"{db.id}:tcp/1"})
    wire_lab.leave_out(instance)
    wire_lab.deliver(auto_link, wire_lab.event(instance))
    assert wire_lab.rules(db) == []
    assert wire_lab.drain(60) == {"applied": 1}
    assert len(wire_lab.rules(db)) == 1


def test_the_sweep_of_two_accounts(wire_lab: PackageLab) -> None:
    """It makes what events missed, and enters the second account."""
    app, db = wire_lab.group("*", account=PEER), wire_lab.group("*", account=PEER)
    wire_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert wire_lab.deliver(sweep, {"triggerName": "every-10m"}) == {"applied": 1}
    assert [run["dead_letters"] for run in wire_lab.records("summary", scope="timer")] == ["0"]
    assert wire_lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_refused_role_is_a_denial(wire_lab: PackageLab) -> None:
    a, b = wire_lab.pair()
    wire_lab.fault(service="sts", code="NoPermission", status=403, times=None)
    assert wire_lab.deliver(cross_account, [wire_lab.message(wire_lab.request(a, b))]) == {"denied": 1}
    assert wire_lab.outcome()["reason"] == "no-access"


def test_a_policy_that_was_edited_after_packaging_counts(
    wire_lab: PackageLab, package: Path, start: Callable[..., FunctionInstance]
) -> None:
    """The compiled one stands for the file that it was made from alone. An invalid edit stops the function."""
    wire_lab.process = start(wire_lab.cloud)
    path = package / "policy.yaml"
    packaged = path.read_bytes()
    app, db = wire_lab.group("*"), wire_lab.group("*")
    event = wire_lab.event(wire_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    try:
        path.write_text(json.dumps({**json.loads(packaged), "paused": True}), encoding="utf-8")
        assert wire_lab.deliver(auto_link, event) == {"denied": 1}
        path.write_text("deployment: prod\naccounts: none\n", encoding="utf-8")
        with pytest.raises(HandlerError, match=r"policy\.yaml:2:11: accounts"):
            wire_lab.deliver(auto_link, event)
    finally:
        path.write_bytes(packaged)
    assert wire_lab.deliver(auto_link, event) == {"applied": 1}


# how faults are classified, with the SDKs as they are in the package: what becomes of a delivery then, whatever call
# meets the fault, tests/functional/test_faults.py tries in process


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", sample(SPOILT, 2))
def test_a_call_without_a_readable_response_is_ambiguous(wire_lab: PackageLab, kind: str) -> None:
    """A read of ECS, and a change."""
    group = wire_lab.group()
    for action, call in (("DescribeInstances", "all_instances()"), ("TagResources", f"tag({group.id!r}, 'k')")):
        wire_lab.fault(service="ecs", action=action, kind=kind)
        code = f"{ACCOUNTS}\nanswer = attempt(lambda: accounts.ecs({HOME!r}).{call})"
        assert wire_lab.process.run(code) == "Ambiguous", action


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", sample(TROUBLE, 2))
def test_a_failed_assume_role_is_a_transient_error(wire_lab: PackageLab, kind: str) -> None:
    wire_lab.fault(service="sts", kind=kind)
    code = f"{ACCOUNTS}\nanswer = attempt(lambda: accounts.ecs({PEER!r}))"
    assert wire_lab.process.run(code) == ("Throttled" if kind == "throttle" else "Ambiguous")


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", sample(WRITE_TROUBLE, 2))
def test_a_record_that_may_not_be_durable_is_a_transient_error(wire_lab: PackageLab, kind: str) -> None:
    wire_lab.fault(service="sls", kind=kind)
    record = {"record": "intent", "time": wire_lab.iso()}
    code = f"{ACCOUNTS}\nanswer = attempt(lambda: audit_log.SlsAuditLog(given, now).write([{record!r}]))"
    assert wire_lab.process.run(code) == "Transient"
    assert wire_lab.cloud.faults.count("sls") == 1, "the SDK tried again by itself"
    assert len(wire_lab.records("intent")) == kind.endswith("-after")
    assert wire_lab.process.run(code) == "None"


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", sample(POST_TROUBLE, 2))
def test_a_post_that_may_be_lost_is_a_transient_error(wire_lab: PackageLab, kind: str) -> None:
    """The TLS of some releases of Python shows a reset as the end of a connection, after which the SDK tries once more
    by itself [src MNSHttp]."""
    most = 2 if kind.startswith("reset") else 1
    wire_lab.fault(service="mns", kind=kind, times=most)
    look = f"look_request(Party({HOME!r}, 'i-web'), given.region, now.now() + 60)"
    code = f"{ACCOUNTS}\nanswer = attempt(lambda: mns.MnsQueue(given, {HOME!r}).post({look}))"
    assert wire_lab.process.run(code) == "Transient"
    assert 1 <= wire_lab.cloud.faults.count("mns") <= most
    wire_lab.cloud.faults.clear()
    assert wire_lab.process.run(code) == "None"
