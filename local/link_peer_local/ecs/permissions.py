"""What RAM checks for an ECS call: the resources it names, and the condition keys that ECS fills in.

[doc ECS "RAM authorization"] lists the actions with a resource level. Any other action is decided by statements with
Resource `*` alone. Whether ECS fills in `acs:RequestTag` is not documented: the knob `request_tags` says so, of UntagResources,
which names keys without values, too: these have an empty value.
"""

from __future__ import annotations

from collections.abc import Mapping

from link_peer_local.core.json_text import loads
from link_peer_local.core.policy import Access
from link_peer_local.ecs.params import Params

_BY_ID = {  # action -> kind of resource, and the parameters that name one
    "DescribeInstances": ("instance", ("InstanceIds",)),
    "DescribeNetworkInterfaces": ("eni", ("NetworkInterfaceId",)),
    "DescribeSecurityGroupAttribute": ("securitygroup", ("SecurityGroupId",)),
    "DescribeSecurityGroupReferences": ("securitygroup", ("SecurityGroupId",)),
    "DescribeSecurityGroups": ("securitygroup", ("SecurityGroupId", "SecurityGroupIds")),
    "RevokeSecurityGroup": ("securitygroup", ("SecurityGroupId",)),
    "RevokeSecurityGroupEgress": ("securitygroup", ("SecurityGroupId",)),
    "RunCommand": ("instance", ("InstanceId",)),
}
_BY_TYPE = ("TagResources", "UntagResources")
_SOURCES = ("SourceCidrIp", "Ipv6SourceCidrIp")


def access(action: str, values: Mapping[str, str], region: str, account: str, *, request_tags: bool = True) -> Access:
    """What a caller of `account` asks for with this call."""
    params, context = Params(values), {**(_tags(values) if request_tags else {}), **_sources(values)}
    if action in _BY_TYPE:
        kind, ids = params.get("ResourceType").lower(), params.listed("ResourceId")
    elif action in _BY_ID:
        kind, names = _BY_ID[action]
        ids = [one for name in names for one in _ids(params, name)] or ["*"]
    else:
        return Access(f"ecs:{action}", context=context)
    return Access(f"ecs:{action}", [f"acs:ecs:{region}:{account}:{kind}/{one}" for one in ids or ["*"]], context)


def _ids(params: Params, name: str) -> list[str]:
    """The ids in `Name`, which may be a JSON array, and in `Name.1`, `Name.2`, …"""
    text = params.get(name)
    if not text.startswith("["):
        return [*([text] if text else []), *params.listed(name)]
    try:
        return [str(one) for one in loads(text)]
    except ValueError:
        return []  # the action refuses it


def _tags(values: Mapping[str, str]) -> dict[str, list[str]]:
    params = Params(values)
    pairs = [(record.get("Key", ""), record.get("Value", "")) for record in params.records("Tag")]
    pairs += [(key, "") for key in params.listed("TagKey")]
    return {f"acs:RequestTag/{key}": [value] for key, value in pairs}


def _sources(values: Mapping[str, str]) -> dict[str, list[str]]:
    found = [value for name, value in values.items() if name.rpartition(".")[2] in _SOURCES]
    return {"ecs:SecurityGroupSourceCidrIps": found} if found else {}
