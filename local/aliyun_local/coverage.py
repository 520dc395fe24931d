"""What the local cloud offers of each service, and the table of it in README.md.

`python -m aliyun_local.coverage FILE` writes the table into a file, between its marks.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from aliyun_local.actiontrail.backend import ACTIONS as ACTIONTRAIL
from aliyun_local.core import real_api
from aliyun_local.ecs.actions import ACTIONS as ECS
from aliyun_local.eventbridge.backend import ACTIONS as EVENTBRIDGE
from aliyun_local.fc.routes import ACTIONS as FC
from aliyun_local.mns.endpoints import ACTIONS as MNS_OPEN
from aliyun_local.mns.wire import OPERATIONS as MNS
from aliyun_local.ram.backend import OPERATIONS as RAM
from aliyun_local.sls.routes import OPERATIONS as SLS
from aliyun_local.sts.backend import ACTIONS as STS
from aliyun_local.tag.backend import ACTIONS as TAG
from aliyun_local.vpc.backend import ACTIONS as VPC

OFFERED: dict[str, frozenset[str]] = {
    "actiontrail": frozenset(ACTIONTRAIL),
    "ecs": frozenset(ECS),
    "eventbridge": EVENTBRIDGE,
    "fc": FC,
    "mns": MNS,
    "mns_open": MNS_OPEN,
    "ram": frozenset(RAM),
    "sls": SLS,
    "sts": frozenset(STS),
    "tag": frozenset(TAG),
    "vpc": frozenset(VPC),
}
"""Service -> the names of the operations that are answered here, as faults and counts name them: each service registers
them in one table, from which it answers, too."""

_TITLES = {
    "actiontrail": "ActionTrail (2020-07-06)",
    "ecs": "ECS (2014-05-26)",
    "eventbridge": "EventBridge (2020-04-01)",
    "fc": "Function Compute (2023-03-30, 2021-04-06)",
    "mns": "MNS (2015-06-06)",
    "mns_open": "MNS, management (2022-01-19)",
    "ram": "RAM (2015-05-01)",
    "sls": "SLS (0.6.0)",
    "sts": "STS (2015-04-01)",
    "tag": "Tag (2018-08-28)",
    "vpc": "VPC (2016-04-28)",
}
_MARKS = re.compile(r"(?<=<!-- coverage -->\n\n).*?(?=\n<!-- /coverage -->)", re.DOTALL)


def table() -> str:
    """A Markdown table: each service, how many of its operations are offered, and which."""
    rows = ["| service | offered | operations |", "|---|---|---|"]
    for service, offered in sorted(OFFERED.items()):
        count = f"{len(offered)} of {len(real_api.names(service) | offered)}"
        rows.append(f"| {_TITLES[service]} | {count} | {', '.join(sorted(offered))} |")
    return "\n".join(rows) + "\n"


def write(path: Path) -> None:
    """Replace the table between the marks of a file."""
    text = path.read_text(encoding="utf-8")
    path.write_text(_MARKS.sub(lambda _: table(), text), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
