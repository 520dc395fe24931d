"""ECS of one account with a person's keys: the official SDK with plain arguments."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
from link_peer.alicloud import lazy_models
from link_peer.alicloud.sdk import call, client_config
from link_peer.runtime.clock import Clock
from link_peer.runtime.settings import Credentials, Settings

POLL_SECONDS = 0.5
COMMAND_SECONDS = 60  # Cloud Assistant stops a command that runs longer
GRACE_SECONDS = 5  # for the result of a command that used all of its time
FINISHED = ("Success", "Failed", "Stopped", "Terminated", "Timeout", "Aborted", "Invalid", "Error", "Cancelled")


class Ran(msgspec.Struct, frozen=True):
    """A command that Cloud Assistant was asked to run."""

    code: int | None  # its exit code; None if it did not run to its end
    output: str
    error: str = ""  # then an ErrorCode of DescribeInvocationResults; empty if there was no result in time
    info: str = ""  # the text of that error


class PersonalEcs:
    """ECS calls with the keys of one account. Raises the errors of link_peer.domain.errors."""

    def __init__(self, settings: Settings, credentials: Credentials, clock: Clock) -> None:
        lazy_models.install()
        from alibabacloud_ecs20140526 import models  # an SDK: when it is asked, since help needs none
        from alibabacloud_ecs20140526.client import Client

        self.region = settings.region
        self.models: Any = models
        self.client: Any = Client(client_config(settings, "ecs", credentials))
        self._clock = clock

    def ask(self, operation: str, **fields: Any) -> Any:
        """Call one operation, such as `describe_instances`, and return the body of its response."""
        name = "".join(part.title() for part in operation.split("_")) + "Request"
        request = getattr(self.models, name)(region_id=self.region, **fields)
        return call(lambda: getattr(self.client, operation)(request)).body

    def rules(self, group: str) -> list[Any]:
        """Return the ingress rules of a group, as the SDK models them."""
        body = self.ask("describe_security_group_attribute", security_group_id=group, direction="ingress")
        return list(body.permissions.permission)

    def tag(self, kind: str, resource: str, **tags: str) -> None:
        """Set tags. `kind` is `instance` or `securitygroup`; `_` in a tag's name stands for `-`."""
        request_tags = [self.models.TagResourcesRequestTag(key=k.replace("_", "-"), value=v) for k, v in tags.items()]
        self.ask("tag_resources", resource_type=kind, resource_id=[resource], tag=request_tags)

    def untag(self, kind: str, resource: str, *keys: str) -> None:
        """Remove tags by their exact names."""
        self.ask("untag_resources", resource_type=kind, resource_id=[resource], tag_key=list(keys))

    def instance(self, instance: str) -> Any:
        """Return an instance as the SDK models it, or None if DescribeInstances omits it."""
        body = self.ask("describe_instances", instance_ids=json.dumps([instance]))
        return next(iter(body.instances.instance or []), None)

    def address(self, instance: str) -> str:
        """Return an instance's private IP; empty if it has none or DescribeInstances omits it."""
        details = self.instance(instance)
        addresses = details.vpc_attributes.private_ip_address.ip_address if details else []
        return str(addresses[0]) if addresses else ""

    def running(self, instance: str) -> bool:
        """Return whether the instance's status is Running."""
        details = self.instance(instance)
        return details is not None and details.status == "Running"

    def execute(self, instance: str, command: str) -> tuple[int | None, str]:
        """Run a shell command on an instance through Cloud Assistant.

        Returns its exit code, None if it did not run to its end or Cloud Assistant is not there, and its output.
        """
        ran = self.result(self.start(instance, command))
        return ran.code, ran.output or ran.info

    def start(self, instance: str, command: str) -> str:
        """Ask Cloud Assistant to run a shell command on an instance; returns the id to ask for its result."""
        invocation = self.ask(
            "run_command",
            type="RunShellScript",
            command_content=command,
            instance_id=[instance],
            timeout=COMMAND_SECONDS,
        )
        return str(invocation.invoke_id)

    def result(self, invoke_id: str) -> Ran:
        """Wait until a command has ended."""
        deadline = self._clock.now() + COMMAND_SECONDS + GRACE_SECONDS
        while True:
            body = self.ask("describe_invocation_results", invoke_id=invoke_id)
            results = body.invocation.invocation_results.invocation_result
            if results and results[0].invocation_status in FINISHED:
                result = results[0]
                output = base64.b64decode(result.output or "").decode("utf-8", "replace")
                info = str(result.error_info or result.invocation_status)
                return Ran(result.exit_code, output, str(result.error_code or ""), info)
            if self._clock.now() > deadline:
                return Ran(None, "", "", "Cloud Assistant returned no result in time")
            self._clock.sleep(POLL_SECONDS)
