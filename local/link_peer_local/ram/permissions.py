"""What RAM checks for a call of its own API [doc RAM API reference, "authorization information" of each operation]."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer_local.core.policy import Access


def access(action: str, params: Mapping[str, str], account: str) -> Access:
    """What a caller of `account` asks for. Attaching names two resources: the policy, and who gets it."""
    named = [
        f"{kind}/{params[name]}"
        for name, kind in (("RoleName", "role"), ("UserName", "user"), ("GroupName", "group"))
        if params.get(name)
    ]
    owner = "system" if params.get("PolicyType") == "System" else account
    resources = [f"acs:ram:*:{account}:{one}" for one in named]
    if params.get("PolicyName"):
        resources.append(f"acs:ram:*:{owner}:policy/{params['PolicyName']}")
    return Access(f"ram:{action}", resources or [f"acs:ram:*:{account}:{_listed(action)}/*"])


def _listed(action: str) -> str:
    return {"ListRoles": "role", "ListUsers": "user"}.get(action, "policy")
