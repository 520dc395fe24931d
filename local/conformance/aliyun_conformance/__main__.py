"""`aliyun-selftest`: ask the open questions about Alibaba Cloud on an account that is marked for it."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import string
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from signal import SIGTERM, signal
from typing import Any

import msgspec

try:
    from aliyun_conformance import leftovers
    from aliyun_conformance.bench import MARK, Bench, Options
    from aliyun_conformance.errors import SelftestError
    from aliyun_conformance.journal import Journal
    from aliyun_conformance.question import (
        FIRST_EVENING,
        FIRST_EVENING_CALLS,
        FIRST_EVENING_MINUTES,
        Question,
        Verdict,
    )
    from aliyun_conformance.run import Result, ask, questions, report
    from aliyun_conformance.sdks import UNAVAILABLE, Sdks, Settings, SystemClock, personal_credentials
except ModuleNotFoundError as missing:
    sys.exit(f"aliyun-selftest: {missing.name} is not installed; install aliyun-local with its extra `selftest`")

DONE, REFUSED, USAGE = 0, 1, 2
FORM = ".github/ISSUE_TEMPLATE/cloud-answer.yml"
"""The form of the repository's issues by which a row gets its answer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.instances and not (options.image and options.instance_type and options.vswitch):
        parser.error("--instances needs --image, --instance-type and --vswitch")
    if options.peer and not options.peer_role:
        parser.error("--peer needs --peer-role")
    if not options.region:
        parser.error("there is no region: give --region or set ALIBABA_CLOUD_REGION_ID")
    if options.first_evening and options.row:
        parser.error("--first-evening chooses the rows: leave --row out")
    unknown = set(options.row) - {question.number for question in questions()}
    if unknown:
        parser.error(f"--row: there is no row {min(unknown)}, or a person must answer it")
    for path in filter(None, (options.journal, options.out)):
        if not path.absolute().parent.is_dir():
            parser.error(f"{path} cannot be written: there is no folder {path.parent}")
    try:
        with _stopped_like_ctrl_c():
            return _selftest(options)
    except (SelftestError, *UNAVAILABLE) as problem:
        print(f"aliyun-selftest: {problem}", file=sys.stderr)
        return REFUSED


@contextmanager
def _stopped_like_ctrl_c() -> Iterator[None]:
    """A stopped build job ends like Ctrl-C, so that everything is removed."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal(SIGTERM, stop)
    try:
        yield
    finally:
        signal(SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "aliyun-selftest",
        description="Answer the open questions about Alibaba Cloud on an account, with throw-away resources that are removed again. "
        f"The account's owner permits it by a security group with the tag {MARK[0]}={MARK[1]} in the VPC to be used.",
    )
    add = parser.add_argument
    add("-y", "--yes", action="store_true", help="start; without it, only what would happen is shown")
    add("--row", type=int, action="append", default=[], help="a row's number; repeat for more; default: all")
    add(
        "--first-evening",
        action="store_true",
        help="the ten rows that matter most, without an instance or a role, in about "
        f"{FIRST_EVENING_MINUTES} minutes; the report is written to <date>-<region>.json, if --out names no other file",
    )
    add("--region", default=os.environ.get("ALIBABA_CLOUD_REGION_ID", ""), help="default: ALIBABA_CLOUD_REGION_ID")
    add("--endpoint", default="", help="the URL of a local cloud, which offers every service there")
    add("--vpc", default="", help="the VPC for throw-away groups; default: the first with a marked group")
    add("--instances", action="store_true", help="also launch up to ten small instances, for some minutes")
    add("--image", default="", help="their image; one with Cloud Assistant, sshd, ping and nc")
    add("--instance-type", default="", help="their type")
    add("--vswitch", default="", help="a vSwitch of the VPC, for instances and network interfaces")
    add("--role", default="", help="ARN of a role that your keys may assume, for the rows about RAM")
    add("--peer", default="", help="uid of a second account, entered through --peer-role")
    add("--peer-role", default="", help="ARN of a role of the second account")
    add("--external-id", default="", help="its external id")
    add("--peer-through", default="", help="ARN of a role that may assume it, if your keys may not")
    add("--prefix", default="cloud", help="names begin with <prefix>-selftest-; default: cloud")
    add(
        "--journal",
        type=Path,
        default=Path("selftest.journal"),
        help="the file that names everything that was created and is not removed yet",
    )
    add("--out", type=Path, metavar="FILE", help="write the report to this file, as JSON")
    add("--clean-up", action="store_true", help="only list what an earlier run left; with --yes, remove it")
    add("--json", action="store_true", help="print JSON")
    add("--version", action="version", version=f"aliyun-selftest {version('aliyun-local')}")
    return parser


def _selftest(arguments: argparse.Namespace) -> int:
    settings = Settings(arguments.region, personal_credentials(), arguments.endpoint)
    options = Options(
        arguments.prefix, arguments.vpc, arguments.instances, arguments.image, arguments.instance_type, arguments.vswitch, arguments.role,
        arguments.peer, arguments.peer_role, arguments.external_id, arguments.peer_through,
    )  # fmt: skip
    rows = FIRST_EVENING if arguments.first_evening else arguments.row
    chosen = [question for question in questions() if not rows or question.number in rows]
    if arguments.first_evening:
        chosen.sort(key=lambda question: rows.index(question.number))
    sdks, book = Sdks(settings, SystemClock()), Journal(arguments.journal)
    account, arn = sdks.identity()
    if arguments.clean_up:
        return _clean_up(sdks, options, book, account, arguments.yes, arguments.json)
    bench = Bench(sdks, options, book, account, _run_id())
    _require_mark(bench)
    if book.remaining():
        raise SelftestError(f"{arguments.journal} names what an earlier run left: aliyun-selftest --clean-up")
    if not arguments.yes:
        _show_plan(bench, chosen, arn, _cost() if arguments.first_evening else "", arguments.json)
        return DONE
    results, remaining, interrupted = _run(bench, chosen)
    path = arguments.out
    if arguments.first_evening and not path:
        day = datetime.fromtimestamp(bench.clock.now(), timezone.utc).date()
        path = Path(f"{day}-{bench.region}.json")
    code = _finish(bench, results, remaining, interrupted, path, arguments.json)
    if arguments.first_evening:
        print(
            f"{path} names no account: please send it as an issue of the project, by its form {FORM}", file=sys.stderr
        )
    return code


def _cost() -> str:
    """What the first evening costs."""
    calls = ", ".join(f"{count} of {service}" for service, count in FIRST_EVENING_CALLS.items() if service != "mns")
    return (
        f"Expected cost: at most {FIRST_EVENING_CALLS['mns']} calls of mns, which SMQ charges for. About {calls}, and more where a "
        "change is late, for which no price is published. Security groups and a queue are made and removed again; no instance, "
        f"role or log project. About {FIRST_EVENING_MINUTES} minutes."
    )


def _run_id() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def _require_mark(bench: Bench) -> None:
    """Raise SelftestError unless the VPC has a marked group.

    The mark is in the account, not on the command line: an option would be repeated from the shell's history with the keys
    of another account. It is on a security group because ECS alone can then read it, for just one region and VPC.
    """
    if bench.vpc not in bench.vpcs:
        where = f"VPC {bench.vpc} of account" if bench.vpc else "account"
        key, value = MARK
        raise SelftestError(
            f"{where} {bench.account} is not marked for the selftest in {bench.region}. Its owner permits it by tagging a "
            f"security group, which may be empty, in a VPC that may be used: aliyun ecs TagResources --RegionId {bench.region}"
            f" --ResourceType securitygroup --ResourceId.1 sg-… --Tag.1.Key {key} --Tag.1.Value {value}"
        )


def _show_plan(bench: Bench, chosen: Sequence[Question], arn: str, cost: str, as_json: bool) -> None:
    """What would be done, row by row, and what it costs."""
    planned = [(row, bench.lacking(row.needs)) for row in chosen]
    if as_json:
        rows = [
            {"number": q.number, "assumed": q.assumed, "cleanup": q.cleanup, "why": reason} for q, reason in planned
        ]
        _print_json({"account": bench.account, "vpc": bench.vpc, "rows": rows, **({"cost": cost} if cost else {})})
        return
    print(f"selftest in VPC {bench.vpc} of account {bench.account} ({bench.region}), as {arn}\n")
    for question, reason in planned:
        print(f"{question.number:>4}  {f'no: {reason}' if reason else 'yes'}\t{question.assumed}")
    count, names = sum(not reason for _, reason in planned), f"{bench.options.prefix}-selftest-…"
    print(f"\n{count} of {len(chosen)} rows would be answered, with resources named {names}")
    if cost:
        print(cost)
    print("Nothing was created. Add --yes to start.")


def _run(bench: Bench, chosen: Sequence[Question]) -> tuple[list[Result], list[str], bool]:
    """Answer the rows; (results, what could not be removed, whether it was interrupted). Removes everything in any case."""
    results: list[Result] = []
    interrupted = False

    def progress(result: Result) -> None:
        results.append(result)
        if sys.stderr.isatty():
            print(f"\rrow {result.number}, {len(results)} of {len(chosen)} ", end="", file=sys.stderr, flush=True)

    try:
        ask(bench, chosen, progress)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        remaining, interrupted = _close(bench, interrupted)
    return results, remaining, interrupted


def _close(bench: Bench, interrupted: bool) -> tuple[list[str], bool]:
    """Remove everything; a second Ctrl-C ends that too, and leaves the rest to --clean-up."""
    try:
        return bench.close(), interrupted
    except KeyboardInterrupt:
        return [f"{each.kind} {each.name}" for each in bench.journal.remaining()], True


def _finish(
    bench: Bench,
    results: Sequence[Result],
    remaining: Sequence[str],
    interrupted: bool,
    path: Path | None,
    as_json: bool,
) -> int:
    """Write and print the report."""
    document = report(bench, results)
    if path:
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        _print_json({**document, "left": list(remaining), "interrupted": interrupted})
    else:
        for result in results:
            print(
                f"{result.number:>4}  {result.verdict.value}\t{result.observation or result.reason}\t(expected: {result.expected})"
            )
        print("   ".join(f"{name} {count}" for name, count in document["counts"].items()))
        if interrupted:
            print("interrupted: the rows above are all that were answered")
        for name in remaining:
            print(f"not removed: {name}; aliyun-selftest --clean-up")
    different = any(result.verdict is Verdict.DIFFERENT for result in results)
    return REFUSED if different or remaining or interrupted else DONE


def _clean_up(sdks: Sdks, options: Options, book: Journal, account: str, yes: bool, as_json: bool) -> int:
    """Remove what the journal names in this account and region, and what has the name and the tag of a run."""
    noted = [each for each in book.remaining() if (each.account, each.region) == (account, sdks.settings.region)]
    names = {each.name for each in noted}
    tagged = [each for each in leftovers.search(sdks, options.prefix, account) if each.name not in names]
    resources = [*noted, *tagged]
    listed = [msgspec.to_builtins(each) for each in resources]
    problems = leftovers.remove(sdks, book, resources) if yes else []
    if as_json:
        _print_json({"found": listed, "removed": yes, "left": problems})
    else:
        for each in listed:
            print(f"{each['kind']}\t{each['name']}\t{each['id']}")
        for name in problems:
            print(f"not removed: {name}")
        if resources and not yes:
            print("Nothing was removed. Add --yes to remove them.")
    return REFUSED if problems else DONE


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
