"""The plain handler: what the official samples of the SDKs lead to. It opens the port and writes one log record.

It reads the instance, checks that the other group accepts it, looks whether the rule stands, adds it and logs. It never
removes anything, knows one account, asks nobody else, and does not care what happens when a call fails.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from alibabacloud_tea_openapi.models import Config
from aliyun.log import LogClient, LogItem, PutLogsRequest

REGION = os.environ["LINK_PEER_REGION"]
KEY, SECRET = os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
TOKEN = os.environ["ALIBABA_CLOUD_SECURITY_TOKEN"]
SCHEME, _, HOST = os.environ["LINK_PEER_CLOUD"].partition("://")


def handler(event: bytes, _context: Any) -> str:
    """What Function Compute calls."""
    instance_id = json.loads(event)["data"]["resourceId"]
    ecs = Client(
        Config(
            access_key_id=KEY,
            access_key_secret=SECRET,
            security_token=TOKEN,
            region_id=REGION,
            endpoint=HOST,
            protocol=SCHEME,
        )
    )
    request = models.DescribeInstancesRequest(region_id=REGION, instance_ids=json.dumps([instance_id]))
    (instance,) = ecs.describe_instances(request).body.instances.instance
    tags = {tag.tag_key: tag.tag_value for tag in instance.tags.tag} if instance.tags else {}
    if "link-peer" not in tags:
        return "nothing to do"
    source = instance.security_group_ids.security_group_id[0]
    target, _, port = tags["link-peer"].partition(":tcp/")
    accepting_group = models.DescribeSecurityGroupsRequest(region_id=REGION, security_group_ids=json.dumps([target]))
    (group,) = ecs.describe_security_groups(accepting_group).body.security_groups.security_group
    if f"{source}:tcp/{port}" not in [tag.tag_value for tag in group.tags.tag if tag.tag_key == "link-accept"]:
        return log(instance_id, target, "denied")
    rules = models.DescribeSecurityGroupAttributeRequest(region_id=REGION, security_group_id=target)
    standing = ecs.describe_security_group_attribute(rules).body.permissions.permission
    if any((rule.source_group_id, rule.port_range) == (source, f"{port}/{port}") for rule in standing):
        return log(instance_id, target, "unchanged")
    permission = models.AuthorizeSecurityGroupRequestPermissions(
        ip_protocol="tcp", port_range=f"{port}/{port}", source_group_id=source, description="link-peer"
    )
    ecs.authorize_security_group(
        models.AuthorizeSecurityGroupRequest(region_id=REGION, security_group_id=target, permissions=[permission])
    )
    return log(instance_id, target, "applied")


def log(instance: str, target: str, outcome: str) -> str:
    """Write one record, and return the outcome."""
    client: Any = LogClient(f"{SCHEME}://{HOST}", KEY, SECRET, TOKEN)
    if HOST[0].isdigit():
        client._isRowIp = True  # the local cloud has an address; the SDK would put the project's name before it
    item = LogItem(int(time.time()), contents=[("from", instance), ("to", target), ("outcome", outcome)])
    project, logstore = os.environ["LINK_PEER_AUDIT_PROJECT"], os.environ["LINK_PEER_AUDIT_LOGSTORE"]
    client.put_logs(PutLogsRequest(project, logstore, "", "", [item]))
    return outcome
