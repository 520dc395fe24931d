"""Deploys an s.yaml on the local cloud: its functions and their triggers (rules, streams, timers)."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from link_peer_deploy.manifest import Function, Manifest, Trigger, load
from link_peer_deploy.project import ROOT
from msgspec import Struct
from msgspec.structs import replace

from link_peer_local.core.clock import Clock, utc
from link_peer_local.core.identity import Identity
from link_peer_local.core.knobs import Knobs
from link_peer_local.core.names import World
from link_peer_local.eventbridge.backend import EventBridge
from link_peer_local.eventbridge.linked_roles import SEND_TO_FC, SEND_TO_MNS
from link_peer_local.eventbridge.stream import QueueStream, Settings, queue_of
from link_peer_local.fc.backend import FcBackend
from link_peer_local.fc.credentials import role_keys
from link_peer_local.fc.runtime import InProcessRuntime, Runtime, WorkerRuntime
from link_peer_local.fc.versions import LATEST
from link_peer_local.mns.backend import MnsBackend

_EVERY = re.compile(r"@every (\d+)([smh])")


class Cloud(Protocol):
    """The parts of LocalCloud that triggers use. LocalCloud itself imports this package."""

    clock: Clock
    region: str
    endpoint: str
    identity: Identity
    events: EventBridge
    mns: MnsBackend
    fc: FcBackend
    knobs: Knobs
    world: World


class Timer(Struct, frozen=True):
    """A timer trigger that fires every `seconds`."""

    name: str
    function: str
    seconds: int
    payload: str
    qualifier: str = LATEST


class Triggers:
    """The streams and timers of one manifest."""

    def __init__(self, cloud: Cloud, account: str, streams: list[QueueStream], timers: list[Timer]) -> None:
        self._cloud = cloud
        self._account = account
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self.streams = streams
        self.timers = timers

    def fire_timer(self, name: str) -> None:
        """Fire a timer trigger now. Timers invoke asynchronously."""
        timer = next(timer for timer in self.timers if timer.name == name)
        event = {"triggerTime": utc(self._cloud.clock.now()), "triggerName": timer.name, "payload": timer.payload}
        self._cloud.fc.invoke_async(
            self._account, timer.function, json.dumps(event).encode(), qualifier=timer.qualifier
        )

    def drain(self, timeout: float = 600.0) -> None:
        """Work until all asynchronous calls and queue messages are settled, or wait for the threads to."""
        idle = False
        while not idle:
            self._cloud.fc.drain(timeout)
            for stream in self.streams:
                stream.drain(timeout)
            idle = self._cloud.fc.tasks.idle() and all(stream.idle() or stream.blocked for stream in self.streams)

    def start(self) -> None:
        """Run everything in threads from now on, in real time."""
        self._cloud.fc.tasks.start()
        for stream in self.streams:
            stream.start()
        self._threads = [threading.Thread(target=self._tick, args=(timer,), daemon=True) for timer in self.timers]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop the threads and Function Compute."""
        self._closed.set()
        for stream in self.streams:
            stream.close()
        self._cloud.fc.close()

    def _tick(self, timer: Timer) -> None:
        while not self._closed.wait(timer.seconds):
            self.fire_timer(timer.name)


def install(cloud: Cloud, manifest: Manifest, account: str, runtime: Runtime, service: str = "link-peer") -> Triggers:
    """Replace `cloud.fc` by one with the manifest's functions, and connect their triggers.

    ValueError for a manifest that the platform would refuse, or that uses what is not offered here.
    """
    if manifest.region != cloud.region:
        raise ValueError(f"the manifest is for {manifest.region}, the cloud is {cloud.region}")
    fc = cloud.fc = FcBackend(cloud.clock, cloud.region, runtime, role_keys(cloud.identity, cloud.clock), service)
    fc.tasks.knobs = cloud.knobs
    fc.tasks.deliver = lambda owner, arn, body: cloud.mns.send(owner, queue_of(arn), body)
    streams: list[QueueStream] = []
    timers: list[Timer] = []
    for function in manifest.functions:
        if function.on_failure is not None:
            queue_of(function.on_failure)
        fc.deploy(account, function)
        for trigger in function.triggers:
            if trigger.kind == "timer":
                timers.append(_timer(trigger, function))
            elif trigger.kind != "eventbridge":
                raise ValueError(f"{trigger.name}: triggers of type {trigger.kind} are not offered here")
            elif trigger.config["eventSourceConfig"]["eventSourceType"] == "Default":
                _add_rule(cloud, account, trigger, function)
            else:
                streams.append(_stream(cloud, account, trigger, function))
    cloud.mns.on_send = _wake_up(streams)
    return Triggers(cloud, account, streams, timers)


def deploy(cloud: Cloud, *, in_process: bool = False, connected: bool = True, path: Path = ROOT / "s.yaml") -> Triggers:
    """Deploy the project's s.yaml on a cloud that has loaded a world (`link_peer_local.world.load`), with its names.

    Functions run in worker processes that call the cloud at `cloud.endpoint`, so serve it first; `in_process` is for
    tests on a virtual clock. Then `start` the triggers or `drain` them. Without `connected`, functions can be invoked,
    but no event, message or timer calls them.
    """
    world = cloud.world
    names = {"LINK_PEER_REGION": cloud.region, "LINK_PEER_PREFIX": world.prefix}
    env = {"LINK_PEER_POLICY": world.policy} | ({"LINK_PEER_CLOUD": cloud.endpoint} if cloud.endpoint else {})
    runtime: Runtime = InProcessRuntime(cloud.clock, env=env) if in_process else WorkerRuntime(env=env)
    manifest = load(path, env=names, account=world.home, queues=world.queues)
    manifest = replace(manifest, functions=tuple(_in_world(function, world) for function in manifest.functions))
    if not connected:
        manifest = replace(manifest, functions=tuple(replace(function, triggers=()) for function in manifest.functions))
    return install(cloud, manifest, world.home, runtime, world.fc_service)


def _in_world(function: Function, world: World) -> Function:
    """The function with the world's audit log. Worlds name everything else as s.yaml does."""
    env = {
        **function.env,
        "LINK_PEER_AUDIT_PROJECT": world.audit_project,
        "LINK_PEER_AUDIT_LOGSTORE": world.audit_logstore,
    }
    return replace(function, env=env, log_project=world.audit_project)


def _add_rule(cloud: Cloud, account: str, trigger: Trigger, function: Function) -> None:
    if not trigger.config["asyncInvocationType"]:
        raise ValueError(f"{trigger.name}: events of cloud services can only invoke asynchronously here")
    qualifier = trigger.qualifier

    def deliver(event: dict[str, Any]) -> None:
        cloud.fc.invoke_async(account, function.name, json.dumps(event).encode(), qualifier=qualifier)

    cloud.events.add_rule(
        account,
        f"{function.name}-{trigger.name}",  # how the platform names the rule of a trigger is not documented
        trigger.config["eventRuleFilterPattern"],
        deliver,
        endpoint=f"acs:fc:{cloud.region}:{account}:functions/{function.name}/{qualifier}",
        dead_letters=trigger.config.get("runOptions", {}).get("deadLetterQueue", {}).get("Arn", ""),
        enabled=trigger.config["triggerEnable"],
    )


def _stream(cloud: Cloud, account: str, trigger: Trigger, function: Function) -> QueueStream:
    qualifier = trigger.qualifier

    def invoke(batch: bytes) -> str:
        result = cloud.fc.invoke(account, function.name, batch, qualifier).result
        return result.error_type if result else ""

    settings = Settings.of(trigger.name, trigger.config)
    allowed = partial(cloud.events.linked, account, SEND_TO_MNS, SEND_TO_FC)
    return QueueStream(cloud.clock, cloud.mns, account, cloud.region, settings, invoke, function.timeout, allowed)


def _wake_up(streams: list[QueueStream]) -> Callable[..., None]:
    def wake(*_: object) -> None:
        for stream in streams:
            stream.wake()

    return wake


def _timer(trigger: Trigger, function: Function) -> Timer:
    every = _EVERY.fullmatch(trigger.config["cronExpression"])
    if every is None:
        raise ValueError(f"{trigger.name}: only `@every <n>[smh]` is offered here")
    seconds = int(every[1]) * {"s": 1, "m": 60, "h": 3600}[every[2]]
    return Timer(trigger.name, function.name, seconds, trigger.config.get("payload", ""), trigger.qualifier)
