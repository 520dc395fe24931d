"""What the entries of a policy cost a sweep, a link and a review: beside no entries, the commit before, and a plain
handler.

`BEFORE` names the commit that is measured beside this one, in the same run (default: HEAD~1).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Code, Worker, run_json
from benchmarks.runner import ROOT, Bench, Row
from benchmarks.worlds import HOME, PEER

GROUPS, ENTRIES, SETS = 300, 1_500, 100
GROWTH = (10, 100, 1_000)
EXPONENT = 1.1
REVIEWED = 900
LIMIT, LIMITED_GROUPS = 4, 200  # seconds of a delivery that has to open a missed link among so many groups
BEFORE = os.environ.get("BEFORE", "HEAD~1")
HEAD = f"""deployment: prod
accounts:
  "{HOME}": {{}}
  "{PEER}": {{role: "acs:ram::{PEER}:role/link-peer", external_id: link-peer-local-example}}
"""


def policy(kind: str, count: int = ENTRIES) -> str:
    """A policy file with entries that name groups of home, none of which is in a link: `none`, `never`, or `allow` with
    sets."""
    if kind == "none":
        return HEAD
    if kind == "never":
        return f"{HEAD}never:\n" + "".join(
            f'  - {{from: "sg-x{n}@{HOME}", to: "sg-y{n}@{HOME}", ports: [tcp/22]}}\n' for n in range(count)
        )
    sets = "".join(f'  s{n}: {{account: "{HOME}", tags: {{env: v{n}}}}}\n' for n in range(SETS))
    return f"{HEAD}sets:\n{sets}allow:\n" + "".join(
        f'  - {{from: "set:s{n % SETS}", to: "sg-y{n}@{HOME}", ports: [tcp/22]}}\n' for n in range(count)
    )


def measure(bench: Bench) -> list[Row]:
    """Ratios are within this run: each kind is measured beside none, and the commit before beside this one."""
    with _commit(BEFORE) as before:
        codes = {"now": _sources(ROOT), "before": _sources(before)}
        return [
            *_sweeps(codes, bench),
            *_growth(codes["now"], bench),
            *_limited(codes),
            *_review(codes, bench),
        ]


@contextlib.contextmanager
def _commit(name: str) -> Iterator[Path]:
    """A work tree of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        git, tree = ["git", "-C", str(ROOT), "worktree"], str(Path(folder, "tree"))
        subprocess.run([*git, "add", "--detach", tree, name], check=True, capture_output=True)
        try:
            yield Path(tree)
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True, capture_output=True)


def _sources(root: Path) -> Code:
    """The functions from the sources of a work tree, with the dependencies of this Python."""
    dependencies = [folder for folder in sys.path if folder and not folder.startswith(str(ROOT / "shared"))]
    return Code(sys.executable, [str(root / "functions"), str(root / "shared"), *dependencies])


def cpu(code: Code, kind: str, count: int = ENTRIES, groups: int = GROUPS) -> Mapping[str, float]:
    """Seconds of CPU of a worker that has begun: of a first `link`, and of a `sweep` of so many groups with a link
    each."""
    with tempfile.TemporaryDirectory() as folder, CloudProcess() as cloud:
        cloud(worlds.ring, groups, groups, groups)
        path = Path(folder, "policy.yaml")
        path.write_text(policy(kind, count), encoding="utf-8")
        askers = cloud(worlds.askers, 4, 4)
        with Worker(code, {**cloud.env, "LINK_PEER_POLICY": str(path)}) as worker:
            used = [worker.call("auto_link", events.launched(asker.instance)).cpu for asker in askers]
            swept = worker.call("sweep", events.timer(), 300).cpu - used[-1]
    links = [after - start for start, after in itertools.pairwise(used[1:])]
    return {"link": statistics.median(links), "sweep": swept}


def _plain(bench: Bench) -> float:
    """The CPU of a first link by the plain handler in a process that has begun: it has no policy."""
    with CloudProcess() as cloud, Worker(bench.plain(bytecode=True), cloud.peer_env) as worker:
        asker, *further = cloud(worlds.askers, 4, 4)
        before = worker.call("plain_handler", events.launched(asker.instance)).cpu
        used = [worker.call("plain_handler", events.launched(each.instance)).cpu for each in further]
    return statistics.median(after - start for start, after in itertools.pairwise([before, *used]))


def _sweeps(codes: Mapping[str, Code], bench: Bench) -> list[Row]:
    targets = {"never": {"sweep": 2.0, "link": 1.5}, "allow": {"sweep": 2.5, "link": 1.5}}
    kinds = ("none", *targets)
    now = {kind: [cpu(codes["now"], kind) for _ in range(bench.rounds)] for kind in kinds}
    before = {kind: cpu(codes["before"], kind) for kind in kinds}
    rows = []
    for figure, name in (("sweep", f"one sweep of {GROUPS} groups with a link each"), ("link", "a warm first link")):
        for kind in kinds:
            samples = [sample[figure] for sample in now[kind]]
            ratio = statistics.median(samples) / statistics.median(sample[figure] for sample in now["none"])
            most = targets.get(kind, {}).get(figure)
            words = {
                "none": "no entries",
                "never": f"{ENTRIES:,} never",
                "allow": f"{ENTRIES:,} allow with {SETS} sets",
            }
            cells: dict[str, Any] = {"before": f"{before[kind][figure]:.3f}"}
            if most:
                cells |= {"target": f"≤ {most:g} of none: {ratio:.2f}", "met": ratio <= most}
            if (figure, kind) == ("link", "none"):
                cells["plain_bytecode"] = [_plain(bench)]
            rows.append(Row(f"{name}: {words[kind]}", "CPU s", samples, **cells))
    return rows


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """By which power costs grow with sizes: the slope of a line through their logarithms."""
    xs, ys = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    slope, _ = statistics.linear_regression(xs, ys)
    return slope


def _growth(code: Code, bench: Bench) -> list[Row]:
    """How a sweep grows with the entries, beyond what it costs without any, and how a review does."""
    rows = []
    for kind in ("never", "allow"):
        costs = [cpu(code, kind, count)["sweep"] for count in GROWTH]
        power = exponent(GROWTH, costs)
        text = " / ".join(f"{cost:.2f}" for cost in costs)
        rows.append(_power(f"a sweep with {_each(GROWTH)} entries of {kind}", text, power))
    sizes = (100, 300, 900)
    reviews = [statistics.median(reviewed(code, size) for _ in range(bench.rounds)) for size in sizes]
    text = " / ".join(f"{cost:.3f}" for cost in reviews)
    rows.append(
        _power(f"what could open, {_each(sizes)} of allow and as many of never", text, exponent(sizes, reviews))
    )
    return rows


def _each(sizes: Sequence[int]) -> str:
    return " / ".join(f"{size:,}" for size in sizes)


def _power(name: str, text: str, power: float) -> Row:
    return Row(name, "CPU s", f"{text}: exponent {power:.2f}", f"≤ {EXPONENT:g}", power <= EXPONENT)


def _limited(codes: Mapping[str, Code]) -> list[Row]:
    """A link whose event was missed, with a short limit of a delivery: seconds of the first one, and whether it opens
    the link."""
    texts = {}
    for name, code in codes.items():
        with tempfile.TemporaryDirectory() as folder, CloudProcess() as cloud:
            cloud(worlds.ring, LIMITED_GROUPS, LIMITED_GROUPS, LIMITED_GROUPS)
            path = Path(folder, "policy.yaml")
            path.write_text(policy("allow"), encoding="utf-8")
            (missed,) = cloud(worlds.askers, 1, 1)
            with Worker(code, {**cloud.env, "LINK_PEER_POLICY": str(path)}) as worker:
                answer = worker.call("sweep", events.timer(), LIMIT)
                opened = bool(cloud(worlds.standing, [missed.group]))
            texts[name] = (f"{answer.seconds:.1f}{'' if opened else ', not opened'}", opened, answer.seconds)
    text, opened, seconds = texts["now"]
    title = (
        f"a missed link among {LIMITED_GROUPS} groups, {ENTRIES:,} entries, a limit of {LIMIT} s: the first delivery"
    )
    is_met = opened and seconds <= 1.5 * LIMIT
    return [Row(title, "s", text, f"opens, ≤ {1.5 * LIMIT:g}", is_met, before=texts["before"][0])]


REVIEW = """
import json, sys, time
sys.path[:0] = {folders!r}
from link_peer.domain.policy import AccountPolicy, Allow, Never, Policy
from link_peer.domain import tags
from link_peer.views.permissions import difference
Grantee = getattr(tags, "Grantee", None) or tags.Who  # as earlier commits call it
def policy(first, count):
    ports = tags.parse_ports("tcp/443")
    allow = tuple(Allow(Grantee({home!r}, f"sg-a{{n}}"), Grantee({home!r}, f"sg-b{{n + first}}"), ports, f"a{{n}}") for n in range(count))
    never = tuple(Never(Grantee({home!r}, f"sg-x{{n}}"), Grantee({home!r}, f"sg-y{{n}}"), ports, f"n{{n}}") for n in range(count))
    return Policy("prod", {{{home!r}: AccountPolicy("a")}}, allow=allow, never=never, accept_tags=False)
old, new = policy(0, {count}), policy(1, {count})
start = time.process_time()
difference(old, new, 0)
print(json.dumps(time.process_time() - start))
"""


def reviewed(code: Code, count: int) -> float:
    """Seconds of CPU for what could open under one policy and not under another, of so many entries of each kind."""
    return float(run_json(code.python, REVIEW.format(folders=list(code.folders), home=HOME, count=count)))


def _review(codes: Mapping[str, Code], bench: Bench) -> list[Row]:
    samples = [reviewed(codes["now"], REVIEWED) for _ in range(bench.rounds)]
    name = f"what could open, {REVIEWED} of allow and {REVIEWED} of never"
    return [
        Row(
            name,
            "CPU s",
            samples,
            "≤ 1",
            statistics.median(samples) <= 1,
            before=f"{reviewed(codes['before'], REVIEWED):.2f}",
        )
    ]
