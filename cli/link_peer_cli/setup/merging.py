"""What the cloud shows of a resource, beside what was sent."""

from __future__ import annotations

from typing import Any


def merged(shown: Any, ours: Any) -> Any:
    """What the cloud shows, with every field of ours as we want it; lists are replaced as a whole."""
    if isinstance(shown, dict) and isinstance(ours, dict):
        return {**shown, **{name: merged(shown.get(name), value) for name, value in ours.items()}}
    return ours


def reduced(shown: Any, like: Any) -> Any:
    """What the cloud shows, without the fields that it has added to what was sent: `like` is what was sent."""
    if isinstance(shown, dict) and isinstance(like, dict):
        return {name: reduced(shown[name], value) for name, value in like.items() if name in shown}
    if isinstance(shown, list) and isinstance(like, list) and len(shown) == len(like):
        return [reduced(one, other) for one, other in zip(shown, like, strict=True)]
    return shown
