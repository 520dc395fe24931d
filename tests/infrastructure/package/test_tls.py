"""The functions over TLS, as on the real cloud: HTTPS takes other paths through the SDKs than HTTP does. What is wrong
with a connection opens no rule and loses no event."""

from __future__ import annotations

import contextlib
import datetime
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import auto_link
import cross_account
import pytest
from aliyun_local.api import VARIABLES, Authority
from link_peer.alicloud import sdk
from link_peer.domain.errors import Transient
from link_peer_deploy import authorities
from link_peer_deploy.instance import FunctionInstance

from tests.functional.lab import PEER
from tests.functional.wire_lab import SILENCE
from tests.infrastructure.package import listeners
from tests.infrastructure.package.conftest import PackageLab
from tests.infrastructure.package.deliveries import deliver, excess
from tests.infrastructure.package.listeners import Answer
from tests.sample import part

pytestmark = pytest.mark.http

SERVICES = ("ecs", "sls", "mns", "sts")
ACROSS = ("sts", "mns")  # asked for links of two accounts alone
CASES: dict[str, tuple[Callable[[Authority, Path], Answer], str]] = {
    "signed by a stranger": (lambda _, folder: listeners.secured(Authority(folder).context()), "its TLS certificate"),
    "of another host": (lambda host, _: listeners.secured(host.context("ecs.example.com")), "its TLS certificate"),
    "expired": (lambda host, _: listeners.secured(host.context(lasts=-datetime.timedelta(1))), "its TLS certificate"),
    "silent in the handshake": (lambda _host, _folder: listeners.silent, "no answer in time"),
    "closed in the handshake": (lambda _host, _folder: lambda _: None, "TLS fails"),
    "closed in an answer": (
        lambda host, _: listeners.secured(host.context(), listeners.half),
        "the connection was closed",
    ),
}
"""A server for each thing that can be wrong, and what the record of the attempt says of it."""
IN_TURN = [(wrong, SERVICES[(row + turn) % 4]) for turn in range(4) for row, wrong in enumerate(CASES)]
"""The services take turns, so that the first of these have each thing and each service."""

SET = """
import os
from link_peer.alicloud import sdk
os.environ.update({environment})
sdk.CONNECT_TIMEOUT_MS = {patience}
answer = None
"""


@contextlib.contextmanager
def surrounded(lab: PackageLab, patience: float = sdk.CONNECT_TIMEOUT_MS / 1000, **env: str) -> Iterator[None]:
    """These settings hold in the instance until the block ends."""
    lab.process.run(SET.format(environment=env, patience=int(patience * 1000)))
    try:
        yield
    finally:
        lab.process.run(SET.format(environment=dict.fromkeys(env, ""), patience=sdk.CONNECT_TIMEOUT_MS))


def attempt(deliver: Callable[[], dict[str, int]]) -> str:
    """Delivers in vain. Returns what is raised, after which the platform delivers again; else the function has put the
    work on the queue."""
    try:
        assert deliver() == {}
    except Transient as raised:
        return str(raised)
    return ""


@pytest.mark.exhaustive
@pytest.mark.parametrize(("wrong", "service"), IN_TURN[: part(len(IN_TURN), 4)])
def test_a_service_whose_connection_is_wrong(
    wire_lab: PackageLab, authority: Authority, tmp_path: Path, service: str, wrong: str
) -> None:
    """No rule is opened, and the attempt is on record with the cause, if the log can be written. Once the service is
    well, a redelivery or the message on the queue opens the link."""
    server, message = CASES[wrong]
    (a, b), db = wire_lab.pair(), wire_lab.group("*")
    to = f"{b.id}@{PEER}" if service in ACROSS else f"{db.id}:tcp/1"
    event = wire_lab.event(wire_lab.instance(a, tags={"link-peer": to}))
    work = [wire_lab.message(wire_lab.request(a, b))] if service == "sts" else event
    function = cross_account if service == "sts" else auto_link
    if "silent" in wrong:
        wire_lab.wait(SILENCE)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(listeners.listening(server(authority, tmp_path)))
        endpoint = {f"LINK_PEER_{service.upper()}_ENDPOINT": f"https://{place}"}
        with surrounded(wire_lab, SILENCE, **endpoint):
            raised = attempt(lambda: wire_lab.deliver(function, work))
    assert [wire_lab.rules(group) for group in (a, b, db)] == [[], [], []]
    assert bool(raised) == (service == "mns")
    attempts = [record["detail"] for record in wire_lab.records("attempt")]
    assert all(message in text for text in attempts)
    assert bool(attempts) == (service != "sls")
    if raised:
        assert attempt(lambda: wire_lab.deliver(function, work)) == ""
    assert wire_lab.drain(60) == {"applied": 1}
    opened = [[f"{b.id} all"], [f"{a.id} all"], []] if service in ACROSS else [[], [], [f"{a.id} tcp/1"]]
    assert [wire_lab.rules(group) for group in (a, b, db)] == opened


def test_a_proxy_that_refuses_opens_nothing(wire_lab: PackageLab) -> None:
    """ECS and SLS are asked through HTTPS_PROXY; the SDK of the queue knows no proxy. What was refused is done without
    it."""
    app, db = wire_lab.group("*"), wire_lab.group("*")
    event = wire_lab.event(wire_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    with listeners.listening(listeners.refusing) as place, surrounded(wire_lab, HTTPS_PROXY=f"http://{place}"):
        assert attempt(lambda: wire_lab.deliver(auto_link, event)) == ""
    assert (wire_lab.rules(db), wire_lab.records("attempt")) == ([], [])
    assert wire_lab.drain(60) == {"applied": 1}
    assert wire_lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_proxy_that_lets_everything_through_is_used(wire_lab: PackageLab) -> None:
    """The certificate that counts is that of the service behind it."""
    request_lines: list[str] = []
    app, db = wire_lab.group("*"), wire_lab.group("*")
    event = wire_lab.event(wire_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    with (
        listeners.listening(listeners.tunnel(request_lines)) as place,
        surrounded(wire_lab, HTTPS_PROXY=f"http://{place}"),
    ):
        assert wire_lab.deliver(auto_link, event) == {"applied": 1}
    assert {line.split()[1] for line in request_lines} == {wire_lab.cloud.endpoint.removeprefix("https://")}


def test_a_connection_that_was_closed_between_events_is_opened_again(wire_lab: PackageLab) -> None:
    """By the same instance, without an attempt on record, or a call that is made twice."""
    app, db = wire_lab.group("*"), wire_lab.group("*")
    for port in (1, 2):
        asking = wire_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/{port}"})
        assert wire_lab.deliver(auto_link, wire_lab.event(asking)) == {"applied": 1}
        wire_lab.server.hang_up()
    assert wire_lab.records("attempt") == []
    assert wire_lab.cloud.faults.count("ecs", "AuthorizeSecurityGroup") == 2


def test_links_in_one_account_and_in_two_over_tls(wire_lab: PackageLab, start: Callable[..., FunctionInstance]) -> None:
    """Opened by tags and removed with them: ECS, SLS, MNS and STS, with nothing imported that is not in the budget."""
    instance = start(wire_lab.cloud)
    a, b = wire_lab.pair()
    db = wire_lab.group("*")
    wish = f"{db.id}:tcp/1 {b.id}@{PEER}"
    asking = wire_lab.instance(a, tags={"link-peer": wish})
    assert deliver(instance, "auto_link", wire_lab.event(asking)) == {"applied": 1}
    [posted] = wire_lab.queued()
    assert deliver(instance, "cross_account", [wire_lab.message(posted)]) == {"applied": 1}
    assert wire_lab.rules(db) == [f"{a.id} tcp/1"]
    assert wire_lab.rules(b) == [f"{a.id} all"]
    wire_lab.tag(asking, link_peer=None)
    assert deliver(instance, "auto_link", wire_lab.tag_event(asking)) == {"removed": 1}
    assert wire_lab.rules(db) == []
    assert excess(instance, "auto_link", "cross_account") == []


def test_without_a_variable_the_authorities_of_the_package_are_trusted(
    wire_lab: PackageLab, start: Callable[..., FunctionInstance], package: Path, authority: Authority, tmp_path: Path
) -> None:
    """They are a folder, of which nothing is read before a server presents a certificate."""
    authorities.write(authority.file, tmp_path / "own")
    [folder] = (tmp_path / "own").iterdir()
    assert not (package / "certifi" / "authorities" / folder.name).exists()
    shutil.copy(folder, package / "certifi" / "authorities")
    instance = start(wire_lab.cloud, **dict.fromkeys(VARIABLES, ""))
    loaded = "from link_peer.app import compose\ncompose.start()\nfrom link_peer.alicloud import tls\nanswer = tls.context().cert_store_stats()"
    assert instance.run(loaded)["x509"] == 0
    app, db = wire_lab.group("*"), wire_lab.group("*")
    event = wire_lab.event(wire_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    assert deliver(instance, "auto_link", event) == {"applied": 1}
    assert instance.run(loaded)["x509"] == 1
