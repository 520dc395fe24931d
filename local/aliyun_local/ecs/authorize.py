"""Authorize, revoke and modify rules. One invalid permission makes the whole call change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from aliyun_local.core.errors import ApiError
from aliyun_local.ecs import rules
from aliyun_local.ecs.call import Call, managed_by_product
from aliyun_local.ecs.params import missing
from aliyun_local.ecs.state import Group, Rule, new_id

_MISSING_RULE = {
    "InvalidParam.SecurityGroupRuleId": 400,
    "InvalidSecurityGroupRule.RuleNotExist": 400,
    "InvalidSecurityGroupRuleId.NotFound": 404,
    "InvalidGroupAuthItem.NotFound": 403,
    "SecurityGroupRule.NotFound": 404,
}


def _permissions(call: Call) -> list[Mapping[str, str]]:
    """The permissions in either form, which cannot be mixed. The flat form is deprecated and holds one permission."""
    listed = call.params.records("Permissions")
    flat = {name: value for name, value in call.params.values.items() if name in rules.FIELDS}
    if listed and flat:
        raise ApiError("InvalidParam.Permissions", 400)
    if call.params.highest("Permissions") > 100:
        raise ApiError("InvalidParam.Permissions", 400, "The specified parameter Permissions is not valid.")
    if not listed and not flat:
        raise missing("IpProtocol")
    return [*listed] if listed else [flat]


def _parse(call: Call, group: Group, direction: str) -> list[Rule]:
    classic, names = not group.vpc_id, call.store.account_names
    return [
        rules.parse(fields, direction=direction, home=call.account.uid, classic=classic, names=names)
        for fields in _permissions(call)
    ]


def authorize(call: Call, *, direction: str) -> dict[str, Any]:
    """Add rules. Authorizing a rule that exists succeeds and changes nothing, not even its description [doc
    2026-01]."""
    group = call.writable_group(call.params.require("SecurityGroupId"))
    _check_policy(call, group, _permissions(call))
    requested_rules = _parse(call, group, direction)
    if len({rule.identity for rule in requested_rules}) < len(requested_rules):
        raise ApiError("InvalidParam.DuplicatePermissions", 400)
    for step in [[rule] for rule in requested_rules] if call.store.knobs.partial_writes else [requested_rules]:
        _add(call, group, step)
    return {}


def _add(call: Call, group: Group, requested_rules: list[Rule]) -> None:
    """Add the rules that the group does not have yet: all of them or none."""
    for rule in requested_rules:
        _check_peer(call, group, rule)
    present = group.rules.at(call.now)
    identities = {rule.identity for rule in present}
    new = [rule for rule in requested_rules if rule.identity not in identities]
    if new:
        _check_quotas(call, group, [*present, *new])
    added = tuple(
        replace(rule, id=new_id("sgr"), sequence=call.store.next_sequence(), created=call.now) for rule in new
    )
    if added:
        group.rules.change(call.now, lambda old: old + added)
    for rule in added:
        call.store.names(group, rule)


def _check_quotas(call: Call, group: Group, planned: list[Rule]) -> None:
    quotas = call.store.quotas
    sources = [(rule.direction, rule.peer_owner, rule.peer_group) for rule in planned if rule.peer_group]
    counted = set(sources) if call.store.knobs.group_sources == "groups" else sources
    if len(counted) > quotas.group_source_rules:
        message = (
            "You have reached the limit on the number of group authorization rules"
            " that you can add to a security group."
            f"When authorization object of rule is security group, the limit is {quotas.group_source_rules}."
        )
        raise ApiError("AuthorizedGroupRule.LimitExceed", 400, message)
    added_count = len(planned) - len(group.rules.at(call.now))
    states = [instance.states.at(call.now) for instance in call.account.ever_in(group.id).values()]
    fullest = max((call.rules_of(state.groups) for state in states if state and group.id in state.groups), default=0)
    most = call.store.knobs.rules_per_group if quotas.rules_per_group is None else quotas.rules_per_group
    if len(planned) > most or fullest + added_count > quotas.rules_per_instance:
        raise ApiError("AuthorizationLimitExceed", 403)


def _check_policy(call: Call, group: Group, permissions: Iterable[Mapping[str, str]]) -> None:
    """Refuse `Policy` on an advanced group, of whatever value, by the knob `advanced_policy`."""
    refuses = group.type == "enterprise" and call.store.knobs.advanced_policy == "refuse"
    if refuses and any("Policy" in fields for fields in permissions):
        raise ApiError("InvalidGroupParameter.OperationDenied", 400)


def _check_peer(call: Call, group: Group, rule: Rule) -> None:
    """Check that `group` may hold the rule and that the rule may name its source (or destination) group."""
    peer, _ = rules.ends(rule.direction)
    if group.type == "enterprise" and rule.peer_group:  # drops and priorities are allowed [doc 120621]
        raise ApiError("InvalidGroupParameter.OperationDenied", 400)
    if not rule.peer_group:
        return
    owner = call.store.accounts.get(rule.peer_owner)
    peer_group = owner.groups.get(rule.peer_group) if owner else None
    if peer_group is None:
        message = f"The {peer}GroupId provided does not exist in our records."
        raise ApiError(f"Invalid{peer}GroupId.NotFound", 404, message)
    if peer_group is group:
        if rule.direction == "egress":
            raise ApiError("InvalidSecurityGroup.IsSame", 403)
        raise ApiError("InvalidParamter.Conflict", 403)
    if peer_group.managed:
        raise managed_by_product(peer_group.id)
    if peer_group.type == "enterprise":
        raise ApiError("InvalidGroupAuthParameter.OperationDenied", 400)
    if bool(peer_group.vpc_id) != bool(group.vpc_id):
        raise ApiError("InvalidNetworkType.Mismatch", 403)
    if peer_group.vpc_id != group.vpc_id and not call.store.knobs.cross_vpc_sources:
        peer_kind = "source group" if rule.direction == "ingress" else "destination group"
        message = f"Specified security group and {peer_kind} are not in the same VPC."
        raise ApiError(f"Invalid{peer}GroupId.Mismatch", 400, message)


def revoke(call: Call, *, direction: str) -> dict[str, Any]:
    """Revoke by rule id or by permission; by id a missing rule is an error (since 2024-07-08) [doc]."""
    group = call.writable_group(call.params.require("SecurityGroupId"))
    ids = call.params.listed("SecurityGroupRuleId")
    if ids:
        if call.params.records("Permissions") or any(name in rules.FIELDS for name in call.params.values):
            raise ApiError("InvalidParam.Permissions", 400)
        revoked = _known_ids(call, group, direction, ids)
    else:
        identities = {rule.identity for rule in _parse(call, group, direction)}
        revoked = {rule.id for rule in group.rules.at(call.now) if rule.identity in identities}
        if not revoked and call.store.knobs.missing_permission == "RuleNotExist":
            raise ApiError("InvalidSecurityGroupRule.RuleNotExist", 400)
    if revoked:
        group.rules.change(call.now, lambda old: tuple(rule for rule in old if rule.id not in revoked))
    return {}


def _known_ids(call: Call, group: Group, direction: str, ids: list[str]) -> set[str]:
    existing = {rule.id for rule in group.rules.at(call.now) if rule.direction == direction}
    if len(set(ids)) < len(ids):
        raise ApiError("InvalidParam.SecurityGroupRuleIdRepeated", 400)
    if len(ids) > 100 or not existing.issuperset(ids):
        message = "The specified parameter SecurityGroupRuleId is not valid."
        code = call.store.knobs.missing_rule
        raise ApiError(code, _MISSING_RULE[code], message)
    return set(ids)


def modify(call: Call, *, direction: str) -> dict[str, Any]:
    """Modify a rule by id; omitted fields stay. Neither the type of its peer nor the NIC type can change [doc]."""
    group = call.writable_group(call.params.require("SecurityGroupId"))
    rule_id = call.params.require("SecurityGroupRuleId")
    existing = group.rules.at(call.now)
    old = next((rule for rule in existing if rule.id == rule_id and rule.direction == direction), None)
    if old is None:
        message = "The specified SecurityGroupRuleId is not exists."
        code = call.store.knobs.missing_rule_modify
        raise ApiError(code, _MISSING_RULE[code], message)
    changes = {name: value for name, value in call.params.values.items() if name in rules.FIELDS}
    if not changes:
        raise ApiError("InvalidParam.InvalidModifyRuleRequest", 400)
    _check_policy(call, group, [changes])
    if changes.get("NicType", old.nic_type) != old.nic_type:
        raise ApiError("InvalidOperation.ModifyNicType", 400)
    peer, _ = rules.ends(direction)
    kinds = (f"{peer}CidrIp", f"Ipv6{peer}CidrIp", f"{peer}GroupId", f"{peer}PrefixListId")  # the first one wins [doc]
    fields = _as_fields(old, changes)
    if next((name for name in kinds if name in changes), "PortRange") not in fields:
        raise ApiError("InvalidOperation.ModifySgRuleEntityType", 400)
    parsed = rules.parse(
        {**fields, **changes},
        direction=direction,
        home=call.account.uid,
        classic=not group.vpc_id,
        names=call.store.account_names,
    )
    _check_peer(call, group, parsed)
    if any(rule.identity == parsed.identity for rule in existing if rule.id != rule_id):
        raise ApiError("InvalidOperation.RuleDuplicate", 400)
    new = replace(parsed, id=old.id, sequence=old.sequence, created=old.created)
    group.rules.change(call.now, lambda rows: tuple(new if rule.id == rule_id else rule for rule in rows))
    call.store.names(group, new)
    return {}


def _as_fields(rule: Rule, changes: Mapping[str, str]) -> dict[str, str]:
    """The rule as request fields. A new peer group does not keep the old owner; no owner means the caller."""
    peer, own_end = rules.ends(rule.direction)
    new_owner = (
        changes.get(f"{peer}GroupId", rule.peer_group) != rule.peer_group or f"{peer}GroupOwnerAccount" in changes
    )
    fields = {
        "IpProtocol": rule.protocol,
        "PortRange": rule.port_range,
        "Policy": rule.policy,
        "Priority": str(rule.priority),
        "NicType": rule.nic_type,
        f"{peer}GroupId": rule.peer_group,
        f"{peer}GroupOwnerId": "" if new_owner else rule.peer_owner,
        f"{peer}CidrIp": rule.peer_cidr,
        f"Ipv6{peer}CidrIp": rule.peer_ipv6,
        f"{own_end}CidrIp": rule.own_cidr,
        f"Ipv6{own_end}CidrIp": rule.own_ipv6,
        "SourcePortRange": rule.source_port_range if rule.source_port_range != rules.NO_PORTS else "",
        "Description": rule.description,
    }
    return {name: value for name, value in fields.items() if value}
