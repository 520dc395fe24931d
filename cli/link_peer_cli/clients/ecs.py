"""The ECS of one account as a person uses it: the official SDK, with plain values in and out."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from link_peer.alicloud import lazy_models
from link_peer.alicloud.sdk import call, client_config
from link_peer.runtime.settings import Credentials, Settings

POLL_SECONDS = 0.5
COMMAND_SECONDS = 60  # Cloud Assistant ends a command that runs longer
FINISHED = ("Success", "Failed", "Stopped", "Terminated", "Timeout", "Aborted", "Invalid", "Error", "Cancelled")


class PersonalEcs:
    """Calls of one account's user. Raises the errors of link_peer.domain.errors."""

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        lazy_models.install()
        from alibabacloud_ecs20140526 import models
        from alibabacloud_ecs20140526.client import Client

        self.region = settings.region
        self.models: Any = models
        self.client: Any = Client(client_config(settings, "ecs", credentials))

    def ask(self, operation: str, **fields: Any) -> Any:
        """One call of an operation (`describe_instances`) with its fields; answers with the body."""
        name = "".join(part.title() for part in operation.split("_")) + "Request"
        request = getattr(self.models, name)(region_id=self.region, **fields)
        return call(lambda: getattr(self.client, operation)(request)).body

    def rules(self, group: str) -> list[Any]:
        """The group's ingress rules as the API shows them."""
        body = self.ask("describe_security_group_attribute", security_group_id=group, direction="ingress")
        return list(body.permissions.permission)

    def tag(self, kind: str, resource: str, **tags: str) -> None:
        """`kind` is `instance` or `securitygroup`; in names `_` stands for `-`."""
        given = [self.models.TagResourcesRequestTag(key=k.replace("_", "-"), value=v) for k, v in tags.items()]
        self.ask("tag_resources", resource_type=kind, resource_id=[resource], tag=given)

    def untag(self, kind: str, resource: str, *keys: str) -> None:
        self.ask("untag_resources", resource_type=kind, resource_id=[resource], tag_key=list(keys))

    def instance(self, instance: str) -> Any:
        """An instance as DescribeInstances shows it; None where it does not."""
        body = self.ask("describe_instances", instance_ids=json.dumps([instance]))
        return next(iter(body.instances.instance or []), None)

    def address(self, instance: str) -> str:
        """An instance's private IP; empty while it has none, or is not shown."""
        shown = self.instance(instance)
        addresses = shown.vpc_attributes.private_ip_address.ip_address if shown else []
        return str(addresses[0]) if addresses else ""

    def running(self, instance: str) -> bool:
        shown = self.instance(instance)
        return shown is not None and shown.status == "Running"

    def run(self, instance: str, command: str) -> tuple[bool, str]:
        """Runs a shell command on an instance through Cloud Assistant: (exit code 0?, what it printed)."""
        asked = self.ask(
            "run_command",
            type="RunShellScript",
            command_content=command,
            instance_id=[instance],
            timeout=COMMAND_SECONDS,
        )
        deadline = time.monotonic() + COMMAND_SECONDS + 5
        while True:
            body = self.ask("describe_invocation_results", invoke_id=asked.invoke_id)
            results = body.invocation.invocation_results.invocation_result
            if results and results[0].invocation_status in FINISHED:
                result = results[0]
                output = base64.b64decode(result.output or "").decode("utf-8", "replace")
                return result.exit_code == 0, output or str(result.error_info or result.invocation_status)
            if time.monotonic() > deadline:
                return False, "Cloud Assistant gave no result in time"
            time.sleep(POLL_SECONDS)
