# ruff: noqa: N815 - the keys are spelt as the platform spells them
"""What s.yaml may give the fc3 component: closed types, so that an unknown key or a wrong value at any depth is an
error.

fc3 0.1.22 has a JSON schema of its own [src devsapp/fc3, src/schema.json], which `s verify` checks; but it takes any
key, and any `triggerConfig`. These types have the keys and limits of that schema that s.yaml uses, and for triggers
those of the pages "TriggerConfig", "RunOptions" and "EventSourceConfig" [doc api-fc-2023-03-30-struct-*] and of
CreateEventStreaming and CreateRule [doc EventBridge API].

`props` checks the props of a resource; `schema` is the same as a JSON schema, for the CLI.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,127}$")]
QueueName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,120}$")]
Region = Annotated[str, Meta(pattern=r"^[a-z]{2}-[a-z0-9-]+$")]
Queue = Annotated[str, Meta(pattern=r"^acs:mns:[a-z0-9-]+:[0-9]{15,20}:/queues/[A-Za-z0-9-]{1,120}$")]
QueueOfHome = Annotated[str, Meta(pattern=r"^acs:mns:[a-z0-9-]+:[0-9]{15,20}:/queues/[A-Za-z0-9-]{1,120}/messages$")]
Cron = Annotated[str, Meta(pattern=r"^(@every [1-9][0-9]*[smh]|(CRON_TZ=\S+ )?(\S+ ){5}\S+)$")]


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    """A mapping without unknown keys."""


class LogConfig(Closed):
    project: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
    logstore: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$")]
    enableRequestMetrics: bool
    enableInstanceMetrics: bool
    logBeginRule: Literal["None", "DefaultRegex"]


class Environment(Closed):
    """The settings of the functions; names are ours, so a misspelt one would be ignored by them."""

    PYTHONPATH: Literal["/code"]
    LINK_PEER_REGION: Region
    LINK_PEER_AUDIT_PROJECT: str
    LINK_PEER_AUDIT_LOGSTORE: str
    LINK_PEER_QUEUE: QueueName
    LINK_PEER_TAG_PREFIX: Annotated[str, Meta(pattern="^[a-z][a-z0-9]{0,15}$")]
    LINK_PEER_MNS_ENDPOINT: Annotated[str, Meta(pattern=r"^(https?://[A-Za-z0-9.:-]+)?$")] = ""
    LINK_PEER_CALLS_PER_MINUTE: Annotated[str, Meta(pattern="^[0-9]*$")] = ""
    LINK_PEER_SWEEP_QUEUE: QueueName | msgspec.UnsetType = msgspec.UNSET


class Destination(Closed):
    destination: QueueOfHome


class DestinationConfig(Closed):
    onFailure: Destination


class AsyncInvokeConfig(Closed):
    qualifier: Literal["live"]
    asyncTask: Literal[True]
    maxAsyncRetryAttempts: Annotated[int, Meta(ge=0, le=8)]
    maxAsyncEventAgeInSeconds: Annotated[int, Meta(ge=1, le=2592000)]
    destinationConfig: DestinationConfig


class TimerConfig(Closed):
    cronExpression: Cron
    enable: Literal[True]
    payload: str


class MnsSource(Closed):
    RegionId: Region
    QueueName: QueueName
    IsBase64Decode: bool


class SourceParameters(Closed):
    sourceMNSParameters: MnsSource | msgspec.UnsetType = msgspec.UNSET


class EventSource(Closed):
    eventSourceType: Literal["Default", "MNS"]
    eventSourceParameters: SourceParameters


class DeliveryOption(Closed):
    mode: Literal["event-driven", "event-streaming"]
    eventSchema: Literal["CloudEvents", "RawData"]


class EventSink(Closed):
    deliveryOption: DeliveryOption


class RetryStrategy(Closed):
    PushRetryStrategy: Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"]


class DeadLetterQueue(Closed):
    Arn: Queue


class BatchWindow(Closed):
    CountBasedWindow: Annotated[int, Meta(ge=1, le=10000)]
    TimeBasedWindow: Annotated[int, Meta(ge=0, le=15)]


class RunOptions(Closed):
    """Without a queue, a message that fails is discarded. With the tolerance NONE, the default, one blocks the
    stream."""

    mode: Literal["event-driven", "event-streaming"]
    errorsTolerance: Literal["ALL"]
    retryStrategy: RetryStrategy
    deadLetterQueue: DeadLetterQueue | msgspec.UnsetType = msgspec.UNSET
    maximumTasks: Annotated[int, Meta(ge=1, le=20)] | msgspec.UnsetType = msgspec.UNSET
    batchWindow: BatchWindow | msgspec.UnsetType = msgspec.UNSET


class EventBridgeConfig(Closed):
    triggerEnable: Literal[True]
    asyncInvocationType: bool
    eventRuleFilterPattern: str
    eventSourceConfig: EventSource
    eventSinkConfig: EventSink
    runOptions: RunOptions  # which fc3's schema requires


class Trigger(Closed, tag_field="triggerType"):
    triggerName: Name
    qualifier: Literal["live"]
    description: str = ""


class TimerTrigger(Trigger, tag="timer", kw_only=True):
    triggerConfig: TimerConfig


class EventBridgeTrigger(Trigger, tag="eventbridge", kw_only=True):
    triggerConfig: EventBridgeConfig


class Props(Closed):
    """The props of one function. All functions have one package, so that they run the same version of the shared
    library.

    cpu and diskSize must be set together; the default timeout is 3 s, and event triggers allow at most 300 s. Without a
    role a function has no credentials, and fc3 reads `auto` as a role of that name.
    """

    region: Region
    functionName: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
    description: Annotated[str, Meta(max_length=256)]
    runtime: Literal["python3.10", "python3.12"]
    handler: Annotated[str, Meta(pattern=r"^[a-z_]+\.[a-z_]+$")]
    code: Literal["./build/package.zip"]
    cpu: Annotated[float, Meta(ge=0.05, le=16)]
    memorySize: Annotated[int, Meta(ge=128, le=32768, multiple_of=64)]
    diskSize: Literal[512, 10240]
    timeout: Annotated[int, Meta(ge=60, le=300)]
    role: Annotated[str, Meta(pattern=r"^acs:ram::[0-9]{15,20}:role/[A-Za-z0-9.-]{1,64}$")]
    logConfig: LogConfig
    environmentVariables: Environment
    triggers: list[TimerTrigger | EventBridgeTrigger]
    asyncInvokeConfig: AsyncInvokeConfig | msgspec.UnsetType = msgspec.UNSET


def props(value: Any) -> Props:
    """The props of a resource. Raises msgspec.ValidationError, which names the place."""
    return msgspec.convert(value, Props)


def schema() -> dict[str, Any]:
    """The types as a JSON schema for the CLI's validator, which refuses the keyword that only helps to choose a
    variant."""

    def without(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: without(value) for key, value in node.items() if key != "discriminator"}
        return [without(value) for value in node] if isinstance(node, list) else node

    document: dict[str, Any] = without(msgspec.json.schema(Props))
    return document
