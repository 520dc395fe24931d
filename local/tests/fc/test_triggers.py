"""From an event, a message or a timer to a function, as its triggers say."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.clock import VirtualClock
from aliyun_local.core.principals import Role, trust_text
from aliyun_local.eventbridge import linked_roles
from aliyun_local.fc.runtime import UNHANDLED, Result, Runtime
from aliyun_local.fc.triggers import Triggers, install
from aliyun_local.fc.values import Function, Trigger
from aliyun_local.fc.worker import Context
from clients import HOME

QUEUE = "requests"
DEAD_LETTERS = "dead-letters"
ONE_BY_ONE = {"CountBasedWindow": 1, "TimeBasedWindow": 0}
FAILED = f"acs:mns:cn-qingdao:{HOME}:/queues/{DEAD_LETTERS}"
STATES = Trigger(
    "instance-state",
    "eventbridge",
    {
        "triggerEnable": True,
        "asyncInvocationType": True,
        "eventRuleFilterPattern": '{"source":["acs.ecs"],"type":["ecs:Instance:StateChange"]}',
        "eventSourceConfig": {"eventSourceType": "Default", "eventSourceParameters": {}},
        "eventSinkConfig": {"deliveryOption": {"mode": "event-driven", "eventSchema": "CloudEvents"}},
    },
)
MESSAGES = Trigger(
    "requests",
    "eventbridge",
    {
        "triggerEnable": True,
        "asyncInvocationType": False,
        "eventRuleFilterPattern": "{}",
        "eventSourceConfig": {
            "eventSourceType": "MNS",
            "eventSourceParameters": {
                "sourceMNSParameters": {"RegionId": "cn-qingdao", "QueueName": QUEUE, "IsBase64Decode": True}
            },
        },
        "eventSinkConfig": {"deliveryOption": {"mode": "event-streaming", "eventSchema": "CloudEvents"}},
        "runOptions": {
            "mode": "event-streaming",
            "maximumTasks": 3,
            "batchWindow": {"CountBasedWindow": 16, "TimeBasedWindow": 0},
            "retryStrategy": {"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY"},
            "errorsTolerance": "ALL",
            "deadLetterQueue": {"Arn": FAILED},
        },
    },
)
EVERY_TEN_MINUTES = Trigger("every-10m", "timer", {"cronExpression": "@every 10m", "enable": True, "payload": "sweep"})
USUAL = {"timeout": 120, "role": f"acs:ram::{HOME}:role/functions"}
FUNCTIONS = (
    Function(
        "watcher",
        "watcher.handler",
        max_retries=8,
        max_age=3600,
        on_failure=f"{FAILED}/messages",
        triggers=(STATES,),
        **USUAL,
    ),
    Function("worker", "worker.handler", triggers=(MESSAGES,), **USUAL),
    Function("sweeper", "sweeper.handler", triggers=(EVERY_TEN_MINUTES,), **USUAL),
)


def _is_stream(trigger: Trigger) -> bool:
    return bool(trigger.config.get("eventSourceConfig", {}).get("eventSourceType") == "MNS")


def _for_queue(trigger: Trigger, queue: str) -> Trigger:
    """The same trigger for another queue."""
    config = json.loads(json.dumps(trigger.config))
    config["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]["QueueName"] = queue
    return Trigger(f"{trigger.name}-{queue}", trigger.kind, config)


class Recording(Runtime):
    """Records calls, and fails so many of the next ones."""

    def __init__(self) -> None:
        self.env = {}
        self.calls: list[tuple[str, Any]] = []
        self.failures = 0

    def run(self, function: Function, event: bytes, context: Context) -> Result:
        self.calls.append((function.name, json.loads(event)))
        self.failures -= 1
        return Result(b"done") if self.failures < 0 else Result(b"throttled", UNHANDLED)


class Setup:
    """Functions for events, messages and a timer, with a runtime that records calls and fails on request."""

    def __init__(
        self, adapt: Callable[[Trigger], Trigger] = lambda trigger: trigger, more_queues: tuple[str, ...] = ()
    ) -> None:
        self.clock = VirtualClock()
        self.runtime = Recording()
        self.cloud = LocalCloud(self.clock)
        self.cloud.identity.add_account(HOME, "a@example.com")
        linked_roles.create(self.cloud.identity, HOME, 0)
        self.cloud.identity.add_role(Role(HOME, "functions", trust_text(["fc.aliyuncs.com"])))
        self.mns = self.cloud.mns
        for queue in (QUEUE, DEAD_LETTERS, *more_queues):
            self.mns.create_queue(HOME, queue)
        functions = tuple(self._function(item, adapt, more_queues) for item in FUNCTIONS)
        self.triggers: Triggers = install(self.cloud, functions, HOME, self.runtime)
        self.stream = self.triggers.streams[0]

    @staticmethod
    def _function(item: Function, adapt: Callable[[Trigger], Trigger], more_queues: tuple[str, ...]) -> Function:
        triggers = [adapt(trigger) for trigger in item.triggers]
        streams = [trigger for trigger in triggers if _is_stream(trigger)]
        triggers += [_for_queue(stream, queue) for stream in streams for queue in more_queues]
        return replace(item, triggers=tuple(triggers))

    def fail(self, times: int) -> None:
        """Make the next calls raise."""
        self.runtime.failures = times

    def delivered_calls(self) -> list[tuple[str, Any]]:
        self.triggers.drain(86400)
        return list(self.runtime.calls)

    def dead(self) -> list[Any]:
        return [json.loads(base64.b64decode(item.body)) for item in self.mns.receive(HOME, DEAD_LETTERS, 16)]

    def state_event(self, state: str) -> None:
        event = {
            "source": "acs.ecs",
            "type": "ecs:Instance:StateChange",
            "data": {"resourceId": "i-bp1a", "state": state},
        }
        self.cloud.events.publish(HOME, event)


@pytest.fixture(name="setup")
def _setup() -> Setup:
    return Setup()


def test_an_instance_event_reaches_its_function(setup: Setup) -> None:
    """As one CloudEvents object, not an array, through an asynchronous call."""
    setup.state_event("Running")
    [(name, event)] = setup.delivered_calls()
    assert name == "watcher"
    assert (event["data"]["state"], event["aliyunaccountid"]) == ("Running", HOME)


def test_an_event_that_always_fails_ends_on_the_dead_letter_queue(setup: Setup) -> None:
    """Once, with the payload and the error."""
    setup.fail(100)
    setup.state_event("Created")
    assert len(setup.delivered_calls()) == 9
    [message] = setup.dead()
    assert json.loads(message["requestPayload"])["data"]["state"] == "Created"
    assert message["requestContext"]["approximateInvokeCount"] == 9


def test_a_timer_sends_its_payload(setup: Setup) -> None:
    """With triggerTime and triggerName."""
    setup.triggers.fire_timer("every-10m")
    assert setup.delivered_calls() == [
        (
            "sweeper",
            {"triggerTime": "2026-11-25T00:00:00Z", "triggerName": "every-10m", "payload": "sweep"},
        )
    ]
    assert [timer.seconds for timer in setup.triggers.timers] == [600]


def test_a_message_arrives_as_an_array_of_one_cloudevent(setup: Setup) -> None:
    """In event-streaming mode even one message is an array; it has no DequeueCount, receipt handle or sender. Once the
    function has succeeded, the message is deleted."""
    message_id = setup.mns.send(HOME, QUEUE, base64.b64encode(b'{"version": 1}').decode())
    [(name, [event])] = setup.delivered_calls()
    assert name == "worker"
    assert (event["type"], event["source"]) == ("mns:Queue:SendMessage", "MNS-Function-requests")
    assert event["subject"] == f"acs:mns:cn-qingdao:{HOME}:queues/{QUEUE}"
    assert set(event["data"]) == {"requestId", "messageId", "messageBody"}
    assert (event["data"]["messageId"], event["data"]["messageBody"]) == (message_id, '{"version": 1}')
    depth = setup.mns.depth(HOME, QUEUE)
    assert (depth.active, depth.inactive) == (0, 0)


@pytest.mark.parametrize("body", ['{"version": 1}', "/w==", "grüße"], ids=["JSON", "no text within", "not base64"])
def test_a_body_that_is_not_base64_text_arrives_as_it_was_sent(setup: Setup, body: str) -> None:
    """IsBase64Decode leaves other bodies unchanged."""
    setup.mns.send(HOME, QUEUE, body)
    [(_, [event])] = setup.delivered_calls()
    assert event["data"]["messageBody"] == body


def test_a_failed_message_is_retried_and_invisible_meanwhile(setup: Setup) -> None:
    """The same event 1 s, 2 s, 4 s… later; no other receiver can get it in between."""
    setup.fail(2)
    setup.mns.send(HOME, QUEUE, "a")
    assert setup.stream.step()
    assert (setup.mns.depth(HOME, QUEUE).active, setup.stream.step()) == (0, False)
    started = setup.clock.now()
    events = [event for _, [event] in setup.delivered_calls()]
    assert len(events) == 3
    assert events[0] == events[1] == events[2]
    assert setup.clock.now() - started == pytest.approx(3)
    assert setup.dead() == []


def test_a_message_that_always_fails_is_dead_lettered_once(setup: Setup) -> None:
    """After its last retry, as the whole event, so that the body can be replayed."""
    setup.fail(100)
    setup.mns.send(HOME, QUEUE, "poison")
    assert len(setup.delivered_calls()) == 6
    [event] = setup.dead()
    assert (event["type"], event["data"]["messageBody"]) == ("mns:Queue:SendMessage", "poison")
    assert setup.mns.depth(HOME, QUEUE).inactive == 0


def test_the_strategy_retries_for_a_day(setup: Setup) -> None:
    """EXPONENTIAL_DECAY_RETRY retries 176 times, with pauses of at most 512 s; the local limit is lifted here."""
    setup.stream.max_retries = None
    setup.fail(1000)
    setup.mns.send(HOME, QUEUE, "poison")
    started = setup.clock.now()
    assert len(setup.delivered_calls()) == 177
    assert 86_000 < setup.clock.now() - started < 87_000


def test_a_poison_message_does_not_block_the_others() -> None:
    """There are three tasks, each with its own batch, of one message here."""
    setup = Setup(_changed(batchWindow=ONE_BY_ONE))
    setup.fail(1)
    for body in ("a", "b", "c"):
        setup.mns.send(HOME, QUEUE, body)
    setup.stream.step()
    assert [event["data"]["messageBody"] for _, [event] in setup.runtime.calls] == ["a", "b", "c"]
    assert setup.mns.depth(HOME, QUEUE).inactive == 1


def _changed(**options: Any) -> Callable[[Trigger], Trigger]:
    def adapt(trigger: Trigger) -> Trigger:
        config = json.loads(json.dumps(trigger.config))
        if _is_stream(trigger):
            config["runOptions"].update(options)
        return Trigger(trigger.name, trigger.kind, config)

    return adapt


def test_without_tolerance_the_stream_blocks() -> None:
    """With errorsTolerance NONE, nothing is dead-lettered after the retries and nothing more is delivered."""
    setup = Setup(_changed(errorsTolerance="NONE", maximumTasks=1, batchWindow=ONE_BY_ONE))
    setup.fail(100)
    setup.mns.send(HOME, QUEUE, "poison")
    setup.mns.send(HOME, QUEUE, "good")
    bodies = [event["data"]["messageBody"] for _, [event] in setup.delivered_calls()]
    assert (set(bodies), setup.stream.blocked, setup.dead()) == ({"poison"}, True, [])


def test_a_batch_waits_for_its_window() -> None:
    """It is pushed when it is full or its window has passed."""
    window = {"CountBasedWindow": 2, "TimeBasedWindow": 10}
    setup = Setup(_changed(batchWindow=window, maximumTasks=1))
    setup.mns.send(HOME, QUEUE, "a")
    assert not setup.stream.step()
    for body in ("b", "c"):
        setup.mns.send(HOME, QUEUE, body)
    assert setup.stream.step()
    started = setup.clock.now()
    batches = [[event["data"]["messageBody"] for event in batch] for _, batch in setup.delivered_calls()]
    assert (batches, setup.clock.now() - started) == ([["a", "b"], ["c"]], 10)


def test_a_batch_fails_as_a_whole() -> None:
    """One bad message cannot be reported separately, so the whole batch is redelivered."""
    setup = Setup(_changed(batchWindow={"CountBasedWindow": 2, "TimeBasedWindow": 0}))
    setup.fail(1)
    for body in ("a", "b"):
        setup.mns.send(HOME, QUEUE, body)
    batches = [[event["data"]["messageBody"] for event in batch] for _, batch in setup.delivered_calls()]
    assert batches == [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mode": "event-driven"}, "event-streaming"),
        ({"batchWindow": {"CountBasedWindow": 0, "TimeBasedWindow": 0}}, "batchWindow"),
        ({"batchWindow": {"CountBasedWindow": 1, "TimeBasedWindow": 16}}, "batchWindow"),
    ],
)
def test_a_trigger_that_the_platform_would_refuse_is_refused(options: dict[str, Any], problem: str) -> None:
    """At installation, not at the first message."""
    with pytest.raises(ValueError, match=problem):
        Setup(_changed(**options))


def test_a_function_may_consume_several_queues() -> None:
    """One trigger per queue; the subject of an event names the queue of its message."""
    setup = Setup(more_queues=("requests-b", "requests-c"))
    for queue in (QUEUE, "requests-b", "requests-c"):
        setup.mns.send(HOME, queue, f"to {queue}")
    delivered = {event["subject"]: event["data"]["messageBody"] for _, [event] in setup.delivered_calls()}
    assert delivered == {
        f"acs:mns:cn-qingdao:{HOME}:queues/{queue}": f"to {queue}" for queue in (QUEUE, "requests-b", "requests-c")
    }
    assert [setup.mns.depth(HOME, queue).inactive for queue in ("requests-b", "requests-c")] == [0, 0]


def test_queues_are_delivered_independently() -> None:
    """A message that fails in one queue does not block another queue."""
    setup = Setup(_changed(errorsTolerance="NONE", maximumTasks=1), more_queues=("requests-b",))
    setup.fail(1)
    setup.mns.send(HOME, QUEUE, "poison")
    setup.triggers.streams[0].max_retries = 0
    assert setup.triggers.streams[0].step()
    setup.mns.send(HOME, "requests-b", "good")
    setup.delivered_calls()
    assert [stream.blocked for stream in setup.triggers.streams[:2]] == [True, False]
    assert [event["data"]["messageBody"] for _, [event] in setup.runtime.calls] == ["poison", "good"]


def test_a_delayed_message_is_delivered_after_its_delay(setup: Setup) -> None:
    """DelaySeconds of SendMessage. A stream has settled once they all are: a function puts a message back with a
    delay."""
    started = setup.clock.now()
    for delay in (600, 10):
        setup.mns.send(HOME, QUEUE, f"after {delay}", delay=delay)
    for seconds, delivered in ((0, False), (9, False), (1, True), (589, False)):
        setup.clock.sleep(seconds)
        assert setup.stream.step() is delivered
    assert not setup.stream.idle()
    assert [event["data"]["messageBody"] for _, [event] in setup.delivered_calls()] == ["after 10", "after 600"]
    assert setup.clock.now() == started + 600


@pytest.mark.parametrize("role", [linked_roles.SEND_TO_MNS, linked_roles.SOURCE_MNS])
def test_a_stream_waits_for_its_queue_and_its_service_linked_role(setup: Setup, role: str) -> None:
    """It delivers once they have been created; either of the roles is enough."""
    setup.mns.delete_queue(HOME, QUEUE)
    assert setup.delivered_calls() == []
    for name in (linked_roles.SEND_TO_MNS, linked_roles.SOURCE_MNS):
        del setup.cloud.identity.roles[f"acs:ram::{HOME}:role/{name}"]
    setup.mns.create_queue(HOME, QUEUE)
    setup.mns.send(HOME, QUEUE, "a")
    assert setup.delivered_calls() == []
    linked_roles.create(setup.cloud.identity, HOME, 0, role)
    assert len(setup.delivered_calls()) == 1
