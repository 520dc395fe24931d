"""`link_peer_cli.api` answers what the commands answer; the programs of docs/api.md work as they are printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from link_peer_cli import api

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, REGION, Lab

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8"), re.S)


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def link_request(*ports: str, source: str = f"sg-app@{HOME}", **fields: Any) -> api.Request:
    """A request for a link to sg-db."""
    return api.request("link", source, f"sg-db@{PEER}", region=REGION, ports=ports, **fields)


def run(lab: Lab, program: str, **ids: str) -> None:
    """Run a program of the page in this lab's region, with these ids."""
    for name, value in {"cn-hangzhou": REGION, **ids}.items():
        program = program.replace(name, value)
    exec(compile(program, "docs/api.md", "exec"), {"__name__": "__main__"})  # noqa: S102


def test_the_example_asks_for_a_link_that_then_stands(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """It has at most 20 lines of code. Before the functions have run, no link stands and packets are stopped;
    afterwards both calls say that it is open."""
    program = BLOCKS[0]
    assert len([line for line in program.splitlines() if line]) <= 20
    app, db = lab.group(), lab.group(account=PEER)
    lab.tag(db, **{"link-accept": f"{app.id}@{HOME}"})
    for group in (app, db):
        lab.instance(group)
    ids = {"sg-app": app.id, "sg-db": db.id}
    run(lab, program, **ids)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("applied")
    assert printed[-1] == "blocked"
    lab.cross_account(*lab.queued())
    run(lab, program, **ids)
    printed = capsys.readouterr().out.splitlines()
    assert f"{app.id} {db.id} tcp/3306 open" in printed[1]
    assert printed[-1] == "open"


def test_the_answers_are_those_of_the_commands(lab: Lab, cli: Cli) -> None:
    """`links`, `explain` and `plan`, of a link that a tag asks for, and of one that would be closed."""
    instance, app, db = lab.linked(PEER)
    lab.auto_link(lab.event(instance))
    lab.drain()
    deployment = api.Deployment()
    code, links = cli.json("links")
    assert (code, [msgspec.to_builtins(link) for link in deployment.links().links]) == (0, links)
    assert deployment.links(ports=["udp/1"]).links == deployment.links(of=lab.group().id).links == []
    assert len(deployment.links(of=instance.id, ports=["tcp/1"]).links) == 1
    _, [explanation] = cli.json("explain", app.id, db.id, "tcp/1")
    assert msgspec.to_builtins(deployment.explain(app.id, db.id, "tcp/1")) == explanation
    lab.retag(instance, **{"link-peer": None})
    _, [would] = cli.json("plan", instance.id)
    answer = msgspec.to_builtins(deployment.plan(instance.id))
    for decision in (*answer["decisions"], *would["decisions"]):
        del decision["time"], decision["key"]  # of each answer
    assert answer == would


def test_each_question_is_answered_as_of_its_own_time(lab: Lab) -> None:
    """However long ago the program began."""
    app, db = lab.group(), lab.group("*")
    for group in (app, db):
        lab.instance(group)
    lab.cross_account(lab.request(app, db, "tcp/1", until=lab.iso(600)))
    deployment = api.Deployment()
    assert [link.state for link in deployment.links().links] == ["open"]
    lab.cloud.clock.advance(601)
    assert [link.state for link in deployment.links().links] == ["closing"]
    assert deployment.explain(app.id, db.id, "tcp/1").links[0].state == "closing"


def test_an_account_that_cannot_be_read_is_named(lab: Lab) -> None:
    """So that no list is taken for whole."""
    lab.fault(service="sts", action="AssumeRole", kind="error", code="NoPermission", status=403, times=None)
    assert any(PEER in problem for problem in api.Deployment().links().not_read)


def test_a_policy_alone_denies_without_keys(lab: Lab, tmp_path: Path) -> None:
    """As `request` does before it posts; what only the cloud can tell is left to the functions."""
    assert api.Deployment().check(link_request("tcp/3306")) is None
    lab.policy(deny={"ports": ["tcp/22"]})
    path = str(lab.policy_path)
    for ports, region, reason in ((("tcp/22",), REGION, "not-allowed"), (("tcp/80",), REGION, None)):
        denial = api.check(link_request(*ports), api.policy(path))
        assert (denial and denial.reason.code) == reason, region
    denial = api.check(link_request("tcp/80", source="sg-app@1000000000000009"), api.policy(path))
    assert denial
    assert denial.reason.code == "unknown-account"
    expired = msgspec.structs.replace(link_request("tcp/80"), until=1)
    assert (denial := api.check(expired, api.policy(path)))
    assert denial.reason.code == "expired"


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("source", {"source": "sg-app"}),
        ("source", {"source": "app@1000000000000001"}),
        ("ports", {"ports": ["tcp/70000"]}),
        ("until", {"until": "yesterday"}),
        ("until", {"until": "2020-01-01T00:00:00Z"}),
        ("expires_in", {"expires_in": "1 h"}),
        ("expires_at", {"expires_in": "2d"}),
        ("request_id", {"request_id": "tag-1"}),
        ("region", {"region": "cn qingdao"}),
        ("to", {"source": f"i-app@{HOME}"}),
        ("reason", {"reason": "r" * 257}),
    ],
)
def test_a_wrong_argument_is_named(lab: Lab, field: str, arguments: dict[str, Any]) -> None:
    """By the error's `field`, before anything is read."""
    fields = {"source": f"sg-app@{HOME}", "target": f"sg-db@{PEER}", "region": REGION, **arguments}
    with pytest.raises(api.BadInput) as error:
        api.request("link", **fields)
    assert error.value.field == field


HOSTILE = ["\x00", "\ud800", "\udcff", "sg-\ud800", "i-\x00", "", " ", "*", "٣", "a" * 5000]


def test_every_error_is_one_of_ours(lab: Lab) -> None:
    """Whatever text a program passes, also one that no file name and no JSON can contain: an answer, a denial, or an
    error that the page names."""
    deployment, request = api.Deployment(), link_request("tcp/1")
    arguments = {"action": "link", "source": f"sg-app@{HOME}", "target": f"sg-db@{PEER}", "region": REGION}
    optional = ("until", "expires_in", "request_id", "reason", "requested_by")
    refused = 0
    for text in HOSTILE:
        fields = ("region", "request_id", "reason", "requested_by")
        requests = [msgspec.structs.replace(request, **{field: text}) for field in fields]
        calls: list[Callable[[], object]] = [
            partial(api.policy, text),
            partial(deployment.links, of=text),
            partial(deployment.links, ports=[text]),
            partial(deployment.explain, text, "sg-db"),
            partial(deployment.explain, "sg-app", text),
            partial(deployment.explain, "sg-app", "sg-db", text),
            partial(deployment.plan, text),
            *(partial(api.request, **{**arguments, field: text}) for field in (*arguments, *optional)),
            *(partial(call, each) for call in (deployment.check, deployment.plan) for each in requests),
        ]
        for call in calls:
            try:
                call()
            except api.LinkPeerError:
                refused += 1
    assert refused > 5 * len(HOSTILE)
    for name in ("\x00", "\ud800"):
        with pytest.raises(api.BadInput, match="is not a file name"):
            api.policy(name)


def test_a_message_that_is_posted_by_the_sdk_alone_is_a_request(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second program of the page, which imports nothing of link-peer."""
    monkeypatch.setenv("MNS_ENDPOINT", "http://192.0.2.1:1")
    run(lab, BLOCKS[1])
    [message] = lab.queued()
    assert message["request_id"] == "chg-1043"
    assert json.loads(api.message(link_request("tcp/3306", request_id="chg-1043")))["from"] == message["from"]
