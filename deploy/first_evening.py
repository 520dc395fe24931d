"""Asks a deployment the first rows of docs/verify-on-cloud.md that are link-peer's own, after `s deploy`: python3
first_evening.py vpc-…

Without --yes it says what it would do. It calls `link-peer` and `aliyun`, in the folder of the deployment, with the
caller's keys. It creates two security groups without members, consent on one of them and a link between both, and
removes all of it, also where it is interrupted. The report names no account; its form is that of `aliyun-selftest`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

EXPECTED, DIFFERENT, UNANSWERED = "as expected", "different", "not answered"
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
POLL_SECONDS = 5
REQUEST_SECONDS = 300
EVENT_SECONDS = 15 * 60
"""ActionTrail itself shows an event after ten minutes."""
ROWS = {
    50: "a request is carried out by the deployed functions",
    132: "the service-linked roles of EventBridge are there",
    112: "doctor finds each trigger as shipped",
    111: "doctor finds the rules of the triggers on the bus `default`",
    99: "a second set-up would change nothing",
    57: "the record of a request names its queue",
    59: "a tag of a group is acted on at its event: how long it takes",
}


COST = """It would create two security groups without members, consent on one and a link between them, and remove all of it: some 200
calls that are free, and some ten invocations of the functions: less than 0.01 USD, in 2 to 20 minutes. --yes does it."""
Answer = tuple[str, str]
"""A verdict, and what was seen."""


class Refused(Exception):
    """A program ended with an error; the text is what it said."""


def run(*words: str) -> str:
    """What a program prints. Raises Refused."""
    finished = call(*words)
    if finished.returncode:
        raise Refused(f"{' '.join(words[:3])}: {(finished.stderr or finished.stdout).strip()[-400:]}")
    return finished.stdout


def call(*words: str) -> subprocess.CompletedProcess[str]:
    """A program's end, whatever it is. A Ctrl-C does not reach it: where it is not waited for, this program ends it."""
    try:
        return subprocess.run(words, check=False, capture_output=True, text=True, start_new_session=True)
    except FileNotFoundError:
        raise Refused(f"there is no program {words[0]} here") from None


def lines(*words: str) -> list[dict[str, Any]]:
    """The objects that `link-peer … --json` prints, a line each; also where it ends with an error after it printed
    some."""
    finished = call("link-peer", *words, "--json")
    objects = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    if finished.returncode and not objects:
        raise Refused(f"link-peer {words[0]}: {finished.stderr.strip()[-400:]}")
    return objects


def ecs(action: str, **params: str) -> dict[str, Any]:
    """An answer of ECS. `_` in a name stands for a dot."""
    words = [word for name, value in params.items() for word in (f"--{name.replace('_', '.')}", value)]
    answer: dict[str, Any] = json.loads(
        run("aliyun", "ecs", action, "--RegionId", os.environ["LINK_PEER_REGION"], *words)
    )
    return answer


def of_doctor(checks: Sequence[dict[str, Any]], words: str) -> Answer:
    """A verdict by what doctor says of the parts whose names begin so."""
    parts = [check for check in checks if check["what"].startswith(words)]
    faults = [f"{part['what']}: {part['state']}, {part['detail']}" for part in parts if part["state"] != "ok"]
    if not parts:
        return UNANSWERED, "doctor does not list them"
    return (DIFFERENT if faults else EXPECTED), "; ".join(faults) or f"{len(parts)} ok"


def of_setup() -> Answer:
    """Whether another set-up would change something."""
    changes = [
        f"{part['action']} {part['kind']} {part['name']}"
        for part in lines("setup", "--dry-run")
        if part["action"] != "keep"
    ]
    return (DIFFERENT if changes else EXPECTED), "; ".join(changes) or "nothing is to change"


def of_request(source: str, target: str, request_id: str) -> dict[int, Answer]:
    """Posts a request for a link that is consented to, and waits for its record."""
    words = ("request", "link", "--from", source, "--to", target, "--port", "tcp/1", "--request-id", request_id)
    records = [
        each for each in lines(*words, "--wait", "--timeout", str(REQUEST_SECONDS)) if each.get("record") == "outcome"
    ]
    if not records:
        return dict.fromkeys((50, 57), (DIFFERENT, f"no record within {REQUEST_SECONDS} s"))
    record = records[-1]
    return {
        50: (
            EXPECTED if record["outcome"] == "applied" else DIFFERENT,
            f"{record['outcome']} {record['reason']}".strip(),
        ),
        57: (EXPECTED if record["queue"] else DIFFERENT, record["queue"] or "the record has no queue"),
    }


def of_event(target: str, tagged_at: float) -> Answer:
    """Waits for the record of the event of a group's tag."""
    while (waited := time.time() - tagged_at) < EVENT_SECONDS:
        for record in lines("audit", "--all", "--since", "30m", f"party={target}"):
            if record["record"] == "observed" and record["function"] == "auto_link":
                written = datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()
                return EXPECTED, f"{max(0, written - tagged_at):.0f} s after the tag was set"
        time.sleep(POLL_SECONDS)
    return DIFFERENT, f"no event within {waited / 60:.0f} minutes"


def create_group(vpc: str, name: str, groups: list[str]) -> str:
    """An empty group; it is added to what is to be removed. An interruption waits for its id."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    try:
        groups.append(ecs("CreateSecurityGroup", VpcId=vpc, SecurityGroupName=name)["SecurityGroupId"])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)
    return groups[-1]


def ask(vpc: str, answers: dict[int, Answer]) -> None:
    """Asks all rows. What was created is removed whatever happens; raises Refused where that failed, with what is
    left."""
    run_id, groups = f"first-evening-{secrets.token_hex(4)}", list[str]()
    try:
        source, target = (create_group(vpc, f"{run_id}-{name}", groups) for name in ("from", "to"))
        tagged_at = time.time()
        run("link-peer", "accept", target, f"{source}:tcp/1")
        answers.update(of_request(source, target, run_id))
        checks = lines("doctor")
        answers[132] = of_doctor(checks, "service-linked role ")
        answers[112] = of_doctor(checks, "trigger ")
        answers[111] = of_doctor(checks, "rule for ")
        answers[99] = of_setup()
        answers[59] = of_event(target, tagged_at)
    finally:
        remove(groups, run_id)


def remove(groups: Sequence[str], run_id: str) -> None:
    """Ends the link and deletes the groups. Raises Refused with those that are left."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)
    if len(groups) == 2:
        words = (
            "--from",
            groups[0],
            "--to",
            groups[1],
            "--request-id",
            run_id,
            "--wait",
            "--timeout",
            str(REQUEST_SECONDS),
        )
        with contextlib.suppress(Refused):
            lines("request", "unlink", *words)
    remaining = []
    for group in reversed(groups):  # the one that names the other first
        try:
            ecs("DeleteSecurityGroup", SecurityGroupId=group)
        except Refused as problem:
            remaining.append(f"{group}: {problem}")
    if remaining:
        raise Refused("delete by hand: " + "; ".join(remaining))


def report(answers: dict[int, Answer]) -> dict[str, Any]:
    """The report as JSON values, without an account's uid."""
    local = os.environ.get("LINK_PEER_CLOUD", "")
    rows = [
        {"number": number, "verdict": verdict, "seen": re.sub(r"\b\d{15,20}\b", "<account>", text)}
        for number, (verdict, text) in ((number, answers.get(number, (UNANSWERED, "not reached"))) for number in ROWS)
    ]
    return {
        "tool": "first_evening",
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cloud": "local cloud" if local else "Alibaba Cloud",
        "region": os.environ["LINK_PEER_REGION"],
        "rows": rows,
    }


def interrupt(_number: int, _frame: object) -> None:
    """SIGTERM ends it as Ctrl-C does: what was created is removed."""
    raise KeyboardInterrupt


def main() -> int:
    """0: all as expected; 1: something was different, not answered, or could not be removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "vpc", help="a VPC of the account of the functions, in which two security groups without members are created"
    )
    parser.add_argument("--yes", action="store_true", help="do it")
    parser.add_argument("--out", type=Path, help="where to write the report; it is printed otherwise")
    options = parser.parse_args()
    if not os.environ.get("LINK_PEER_REGION"):
        parser.error("export LINK_PEER_REGION, as for the other commands")
    if not options.yes:
        print(*(f"#{number} {text}" for number, text in ROWS.items()), sep="\n")
        print(COST)
        return 0
    signal.signal(signal.SIGTERM, interrupt)
    answers: dict[int, Answer] = {}
    problem = ""
    try:
        ask(options.vpc, answers)
    except (Refused, KeyboardInterrupt) as error:
        problem = str(error) or "interrupted"
    document = report(answers)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    for row in document["rows"]:
        print(f"#{row['number']} {row['verdict']}: {row['seen']}", file=sys.stderr)
    print(problem or "Please send the report by the form .github/ISSUE_TEMPLATE/cloud-answer.yml.", file=sys.stderr)
    print("" if options.out else text, end="")
    return int(bool(problem) or any(row["verdict"] != EXPECTED for row in document["rows"]))


if __name__ == "__main__":
    sys.exit(main())
