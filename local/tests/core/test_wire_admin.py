"""The local cloud's own paths: unsigned, and not callable by web pages; and the knobs that they set, or a world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aliyun_local import world
from aliyun_local.cloud import LocalCloud
from aliyun_local.core.clock import VirtualClock
from aliyun_local.core.faults import Fault
from aliyun_local.core.http import Request
from aliyun_local.core.knobs import Knobs, mixed, opposite, readings
from clients import world_file


def ask(
    cloud: LocalCloud, method: str, path: str, body: Any = None, host: str = "127.0.0.1:80", kind: str = "json"
) -> tuple[int, dict[str, Any]]:
    headers = {"host": host, "content-type": f"application/{kind}"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = cloud.handle(Request(method, f"/_local/{path}", "", headers, data))
    return answer.status, json.loads(answer.body)


@pytest.fixture(name="cloud")
def _cloud() -> LocalCloud:
    return LocalCloud(VirtualClock())


def test_health_shows_the_clouds_time(cloud: LocalCloud) -> None:
    """Which is not the machine's time."""
    assert ask(cloud, "GET", "health") == (200, {"ok": True, "time": "2026-11-25T00:00:00Z"})


def test_faults_are_added_and_cleared(cloud: LocalCloud) -> None:
    """A fault that is posted here works like one that is added in Python."""
    status, body = ask(cloud, "POST", "faults", {"service": "ecs", "kind": "reset", "times": 2, "skip": 1})
    assert status == 200
    assert cloud.faults.waiting() == [Fault("ecs", kind="reset", times=2, skip=1)]
    assert ask(cloud, "GET", "faults") == (200, body)
    assert ask(cloud, "POST", "faults", {"clear": True}) == (200, {"waiting": []})
    assert cloud.faults.waiting() == []


def test_state_shows_no_secret(local_cloud: LocalCloud) -> None:
    """It shows accounts, roles and the number of calls."""
    account = next(iter(local_cloud.identity.accounts.values()))
    status, body = ask(local_cloud, "GET", "state")
    assert status == 200
    assert [entry["name"] for entry in body["accounts"]] == ["a@aliyun.com", "b@aliyun.com"]
    assert account.access_key_secret not in json.dumps(body)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("DELETE", "faults", None, 404),
        ("POST", "faults", {"kind": "rset"}, 400),
        ("POST", "faults", {"colour": "red"}, 400),
        ("POST", "faults", {"service": "ec2"}, 400),
        ("POST", "faults", {"service": "ecs", "action": "AuthoriseSecurityGroup"}, 400),
        ("POST", "knobs", {"colour": "red"}, 400),
        ("POST", "knobs", b'{"retry_factor": 1e999}', 400),
        ("POST", "faults", [], 400),
        ("POST", "faults", b"{", 400),
        *(
            ("POST", "faults", b'{"code": ' + tail, 400)
            for tail in (b"[" * 100_000, b"[" * 200 + b"]" * 200 + b"}", b'"\\ud800"}', b"NaN}")
        ),
        ("POST", "faults", {"service": 1}, 400),
        ("POST", "faults", {"times": "2"}, 400),
        ("POST", "faults", {"status": 99}, 400),
        ("POST", "faults", {"kind": "slow", "seconds": -1}, 400),
        ("POST", "faults", {"kind": "throttle", "per_minute": -1}, 400),
        ("POST", "faults", {"kind": "throttle", "per_minute": 0.5}, 400),
    ],
)
def test_invalid_requests_are_refused(cloud: LocalCloud, method: str, path: str, body: Any, status: int) -> None:
    """Unknown paths, unknown faults and invalid bodies are refused, and the error names the problem."""
    code, answer = ask(cloud, method, path, body)
    assert code == status
    assert answer["error"]


def test_knobs_are_shown_and_set(cloud: LocalCloud) -> None:
    """With what each can be set to. The others keep their readings."""
    status, body = ask(cloud, "GET", "knobs")
    assert (status, body["knobs"]["own_source_owner"], body["knobs"]["strict_ids"]) == (200, "empty", False)
    assert body["readings"]["own_source_owner"] == ["empty", "uid"]
    status, body = ask(cloud, "POST", "knobs", {"own_source_owner": "uid", "retry_seconds": 60})
    assert (status, body["knobs"]["own_source_owner"], body["knobs"]["strict_ids"]) == (200, "uid", False)
    assert (cloud.knobs.own_source_owner, cloud.knobs.retry_seconds) == ("uid", 60.0)


def test_web_pages_cannot_call_it(cloud: LocalCloud) -> None:
    """A foreign host name (DNS rebinding) and a form (no preflight) are refused."""
    assert ask(cloud, "GET", "state", host="evil.example")[0] == 403
    assert ask(cloud, "POST", "faults", {"kind": "reset"}, kind="x-www-form-urlencoded")[0] == 415
    assert cloud.faults.waiting() == []


# what can be set


def test_every_reading_can_be_set() -> None:
    """The default comes first."""
    for name, choices in readings().items():
        assert choices[0] == getattr(Knobs(), name)
        for choice in choices:
            knobs = Knobs()
            knobs.change({name: choice})
            assert getattr(knobs, name) == choice


def test_mixtures_have_every_reading_of_every_knob() -> None:
    """The same number gives the same mixture; 0 gives the defaults."""
    assert mixed(0) == Knobs()
    assert mixed(12345) == mixed(12345)
    step = 1  # each knob is a digit of the number
    for name, choices in readings().items():
        assert {getattr(mixed(step * choice), name) for choice in range(len(choices))} == set(choices)
        step *= len(choices)


def test_the_opposite_shares_no_reading_with_the_default() -> None:
    assert all(getattr(opposite(), name) != getattr(Knobs(), name) for name in readings())


@pytest.mark.parametrize(
    "changes", [{"none": 1}, {"own_source_owner": "red"}, {"strict_ids": "yes"}, {"retry_factor": -1}]
)
def test_an_invalid_reading_changes_nothing(changes: dict[str, object]) -> None:
    knobs = Knobs()
    with pytest.raises(ValueError, match=r"^knobs: "):
        knobs.change({"host_mask": "dropped", **changes})
    assert knobs == Knobs()


def test_a_world_may_set_knobs(tmp_path: Path) -> None:
    """The others keep the readings that the cloud was made with."""
    cloud = LocalCloud(knobs=Knobs(strict_ids=True))
    world.load(cloud, world_file(tmp_path, knobs={"own_source_owner": "uid", "retry_seconds": 60}))
    assert cloud.knobs == Knobs(strict_ids=True, own_source_owner="uid", retry_seconds=60.0)
    assert cloud.ecs.knobs is cloud.fc.tasks.knobs is cloud.knobs


def test_a_world_with_an_unknown_knob_is_refused(tmp_path: Path) -> None:
    with pytest.raises(world.WorldError, match=r"knobs: .*none"):
        world.load(LocalCloud(), world_file(tmp_path, knobs={"none": 1}))
