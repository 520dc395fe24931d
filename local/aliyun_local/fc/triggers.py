"""What calls functions: rules, streams and timers; and functions as they are installed on the local cloud."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from aliyun_local.core.clock import Clock, utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Caller, Identity
from aliyun_local.core.knobs import Knobs
from aliyun_local.core.policy import Access
from aliyun_local.core.real_api import not_offered
from aliyun_local.eventbridge.backend import EventBridge
from aliyun_local.eventbridge.linked_roles import FC_TRIGGER, SEND_TO_FC, SEND_TO_MNS, SOURCE_MNS
from aliyun_local.eventbridge.stream import QueueStream, Settings, queue_of
from aliyun_local.fc.backend import FcBackend
from aliyun_local.fc.request_log import RequestLog
from aliyun_local.fc.routes import refused
from aliyun_local.fc.runtime import Runtime
from aliyun_local.fc.state import role_keys
from aliyun_local.fc.values import Function, Trigger
from aliyun_local.fc.versions import LATEST
from aliyun_local.mns.backend import MnsBackend
from aliyun_local.sls import SlsBackend

_EVERY = re.compile(r"@every (\d+)([smh])")


class Cloud(Protocol):
    """The parts of LocalCloud that triggers use. LocalCloud itself imports this package."""

    clock: Clock
    region: str
    endpoint: str
    identity: Identity
    events: EventBridge
    mns: MnsBackend
    sls: SlsBackend
    fc: FcBackend
    knobs: Knobs
    triggers: Triggers

    @property
    def variables(self) -> dict[str, str]:
        """The environment of what uses it."""


Place = tuple[str, str, str]
"""Of a trigger: account, function, name."""


class Timer(Struct, frozen=True):
    """A timer trigger that fires every `seconds`."""

    account: str
    function: str
    name: str
    seconds: int
    payload: str
    qualifier: str = LATEST


class Triggers:
    """The rules, streams and timers that the triggers of a cloud's functions stand for.

    Until it is `started`, nothing runs by itself: `fire_timer` and `drain` work in the caller's thread.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._streams: dict[Place, QueueStream] = {}
        self._timers: dict[Place, Timer] = {}
        self.started = False
        self._closed = threading.Event()
        cloud.fc.connections = self
        cloud.fc.request_log = RequestLog(cloud.sls, cloud.identity)
        cloud.fc.tasks.knobs = cloud.knobs
        cloud.fc.tasks.deliver = lambda owner, arn, body: cloud.mns.send(owner, queue_of(arn), body)
        cloud.mns.on_send = self._wake

    @property
    def streams(self) -> list[QueueStream]:
        """The streams, in the order of their triggers."""
        return list(self._streams.values())

    @property
    def timers(self) -> list[Timer]:
        """The timers, in the order of their triggers."""
        return list(self._timers.values())

    def check(self, caller: Caller, function: Function) -> None:
        """What Function Compute asks RAM and SLS when a function is created or changed."""
        identity = self._cloud.identity
        if function.role:
            if not identity.permitted(caller, Access("ram:PassRole", [function.role])):
                raise refused(Access("ram:PassRole", [function.role]))
            role_keys(identity, self._cloud.clock)(caller.account, function)
        if function.log_project:
            try:
                self._cloud.sls.logstore(caller.account, function.log_project, function.log_store)
            except ApiError as missing:  # [src fc3 error-code.ts]
                kind = "project" if missing.code == "ProjectNotExist" else "logstore"
                name = function.log_project if kind == "project" else function.log_store
                raise ApiError("InvalidArgument", 400, f"{kind} '{name}' does not exist") from None

    def connect(self, account: str, function: str, trigger: Trigger) -> None:
        """Make, or make anew, what calls the function. ValueError, KeyError or TypeError for what the platform would
        refuse."""
        place = (account, function, trigger.name)
        if trigger.kind == "timer":
            timer = _timer(account, function, trigger)
            self._timers.pop(place, None)
            if trigger.config.get("enable", True):
                self._timers[place] = timer
                if self.started:
                    self._start_timer(place, timer)
        elif trigger.kind != "eventbridge":
            raise not_offered("fc", f"trigger of type {trigger.kind}")
        elif self._cloud.knobs.trigger_role == "required" and not self._cloud.events.linked(account, FC_TRIGGER):
            raise ValueError(f"{trigger.name}: the service-linked role {FC_TRIGGER} does not exist")
        elif trigger.config["eventSourceConfig"]["eventSourceType"] == "Default":
            self._add_rule(account, function, trigger)
        else:
            stream = self._stream(account, function, trigger)
            self._close_stream(place)
            if trigger.config["triggerEnable"]:
                self._streams[place] = stream
                if self.started:
                    stream.start()

    def disconnect(self, account: str, function: str, trigger: str) -> None:
        """Take away what calls the function."""
        place = (account, function, trigger)
        self._timers.pop(place, None)
        self._close_stream(place)
        self._cloud.events.remove_rule(account, _rule_name(function, trigger))

    def fire_timer(self, name: str) -> None:
        """Fire the timer trigger of this name now."""
        self._fire(next(timer for timer in self.timers if timer.name == name))

    def drain(self, timeout: float = 600.0, within: float = math.inf) -> None:
        """Work until all asynchronous calls and queue messages are settled, or wait for the threads to. Messages that
        are delayed for `within` seconds or more are left: a function may always post another one."""
        idle = False
        while not idle:
            self._cloud.fc.drain(timeout)
            for stream in self.streams:
                stream.drain(timeout, within)
            settled = all(stream.idle(within) or stream.blocked for stream in self.streams)
            idle = self._cloud.fc.tasks.idle() and settled

    def start(self) -> None:
        """Run everything in threads from now on, in real time; also the triggers that are made later."""
        self.started = True
        self._cloud.fc.tasks.start()
        for stream in self.streams:
            stream.start()
        for place, timer in self._timers.items():
            self._start_timer(place, timer)

    def close(self) -> None:
        """Stop the threads and Function Compute."""
        self._closed.set()
        for stream in self.streams:
            stream.close()
        self._cloud.fc.close()

    def _add_rule(self, account: str, function: str, trigger: Trigger) -> None:
        cloud, qualifier = self._cloud, trigger.qualifier
        if not trigger.config["asyncInvocationType"]:
            raise ValueError(f"{trigger.name}: events of cloud services can only invoke asynchronously here")

        def deliver(event: dict[str, Any]) -> None:
            cloud.fc.invoke_async(account, function, json.dumps(event).encode(), qualifier=qualifier)

        cloud.events.add_rule(
            account,
            _rule_name(function, trigger.name),
            trigger.config["eventRuleFilterPattern"],
            deliver,
            endpoint=f"acs:fc:{cloud.region}:{account}:functions/{function}/{qualifier}",
            dead_letters=trigger.config.get("runOptions", {}).get("deadLetterQueue", {}).get("Arn", ""),
            enabled=trigger.config["triggerEnable"],
        )

    def _stream(self, account: str, function: str, trigger: Trigger) -> QueueStream:
        cloud, qualifier = self._cloud, trigger.qualifier

        def invoke(batch: bytes) -> str:
            result = cloud.fc.invoke(account, function, batch, qualifier).result
            return result.error_type if result else ""

        settings = Settings.of(trigger.name, trigger.config)
        timeout = cloud.fc.function(account, function, qualifier).function.timeout

        def allowed() -> bool:
            linked = partial(cloud.events.linked, account)
            return linked(SEND_TO_FC) and (linked(SEND_TO_MNS) or linked(SOURCE_MNS))

        stream = QueueStream(cloud.clock, cloud.mns, account, cloud.region, settings, invoke, timeout, allowed)
        stream.knobs = cloud.knobs
        return stream

    def _close_stream(self, place: Place) -> None:
        if stream := self._streams.pop(place, None):
            stream.close()

    def _wake(self, *_: object) -> None:
        for stream in self.streams:
            stream.wake()

    def _fire(self, timer: Timer) -> None:
        """Timers invoke asynchronously."""
        event = {"triggerTime": utc(self._cloud.clock.now()), "triggerName": timer.name, "payload": timer.payload}
        body = json.dumps(event).encode()
        self._cloud.fc.invoke_async(timer.account, timer.function, body, qualifier=timer.qualifier)

    def _start_timer(self, place: Place, timer: Timer) -> None:
        def tick() -> None:
            while not self._closed.wait(timer.seconds) and self._timers.get(place) is timer:
                self._fire(timer)

        threading.Thread(target=tick, daemon=True).start()


def install(
    cloud: Cloud, functions: Iterable[Function], account: str, runtime: Runtime, service: str = "default"
) -> Triggers:
    """Replace `cloud.fc` by one with these functions of the account, and connect their triggers.

    Functions of a WorkerRuntime call the cloud at `cloud.endpoint`, so serve it first. Then `start` the triggers or
    `drain` them. ValueError for a function that the platform would refuse, or that uses what is not offered here.
    """
    cloud.fc = FcBackend(cloud.clock, cloud.region, runtime, role_keys(cloud.identity, cloud.clock), service)
    cloud.fc.endpoint = lambda: cloud.endpoint
    triggers = cloud.triggers = Triggers(cloud)
    for function in functions:
        if function.on_failure is not None:
            queue_of(function.on_failure)
        cloud.fc.deploy(account, function)
    return triggers


def _rule_name(function: str, trigger: str) -> str:
    """How the platform names the rule of a trigger is not documented."""
    return f"{function}-{trigger}"


def _timer(account: str, function: str, trigger: Trigger) -> Timer:
    every = _EVERY.fullmatch(trigger.config["cronExpression"])
    if every is None:
        raise ValueError(f"{trigger.name}: only `@every <n>[smh]` is offered here")
    seconds = int(every[1]) * {"s": 1, "m": 60, "h": 3600}[every[2]]
    return Timer(account, function, trigger.name, seconds, trigger.config.get("payload", ""), trigger.qualifier)
