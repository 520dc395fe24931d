"""The files of deploy/ that describe logs and alerts, with the names of a deployment filled in."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import yaml
from link_peer_deploy.project import ROOT


def read(name: str, values: Mapping[str, str] | None = None) -> Any:
    """A YAML or JSON file of deploy/. With `values`, each `${NAME}` becomes its value; without, the text is left alone."""
    text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    return yaml.safe_load(text if values is None else Template(text).substitute(values))


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
