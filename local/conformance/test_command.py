"""`aliyun-selftest` on the local cloud: what it answers, whom it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aliyun_conformance import __main__ as command
from aliyun_conformance import run
from aliyun_conformance.bench import MARK
from aliyun_conformance.journal import Journal, Resource
from aliyun_conformance.question import FIRST_EVENING, FIRST_EVENING_CALLS, FIRST_EVENING_MINUTES
from aliyun_local.api import (
    Access,
    Caller,
    Fault,
    Killed,
    LocalCloud,
    Request,
    Response,
    SystemClock,
    load,
    opposite,
    serve,
)
from marked import HOME, ROLE, existing, mark

ENDPOINT = "http://192.0.2.1:1"
DIFFERENT_HERE = {
    8: "whether a call with one invalid permission writes the others",
    12: "whether a rule may name a group of another VPC",
    19: "whether one unknown id refuses a list",
    56: "whether `RuleCount` is shown",
    68: "whether `Policy` may be set on an advanced group",
    70: "whether an egress drop stops packets inside a basic group",
    120: "which directions are shown where none is asked for",
    121: "what `RuleCount` counts",
    137: "the code for a rule that is gone",
    138: "whether revoking a rule that is gone is refused",
    142: "the code for a rule that is gone",
    151: "whether the quota of group sources counts rules",
    152: "the code for a rule that is gone",
    193: "the code for a rule that is gone",
}
"""Rows that the local cloud may answer unlike what the code assumes, and why. Nothing else may differ."""

NOT_OFFERED_HERE = {38, 39, 40, 44, 48}
"""Rows that may stay unanswered: traces of events, quotas, ROS, ActionTrail, Tag, and 40 (no deployment)."""

QUESTIONS = {question.number: question for question in run.questions()}


class Selftest:
    """`selftest("--row", "1")` runs the command on the marked account and returns its report; `code` is its exit code."""

    def __init__(
        self, cloud: LocalCloud, capsys: pytest.CaptureFixture[str], folder: Path, endpoint: str = ENDPOINT
    ) -> None:
        self.cloud, self.code, self.out, self.err = cloud, 0, "", ""
        self.journal = folder / "journal"
        self.all_options: list[str] = []
        """The options that let every question be asked."""
        self._capsys = capsys
        self._usual = ["--region", "cn-qingdao", "--endpoint", endpoint, "--journal", str(self.journal)]

    def run(self, *options: str) -> int:
        """Run the command; its exit code."""
        self.code = command.main([*self._usual, *options])
        self.out, self.err = self._capsys.readouterr()
        return self.code

    def __call__(self, *options: str) -> dict[str, Any]:
        self.run("--json", *options)
        return dict(json.loads(self.out))

    def rows(self, *options: str) -> dict[int, dict[str, Any]]:
        """The rows of a run, by number."""
        return {row["number"]: row for row in self("--yes", *options)["rows"]}

    def clean_up(self) -> dict[str, Any]:
        return self("--clean-up", "--yes")

    def existing(self) -> list[set[str]]:
        """The resources of the account, of every kind that the selftest creates."""
        return existing(self.cloud)


@pytest.fixture(name="keys")
def _keys(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person's keys are those of the account; the clock is the cloud's."""
    use_keys(cloud, monkeypatch)
    monkeypatch.setattr(command, "SystemClock", lambda: cloud.clock)


def use_keys(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = cloud.identity.accounts[HOME]
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", keys.access_key_secret)


@pytest.fixture(name="selftest")
def _selftest(cloud: LocalCloud, keys: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Selftest:
    """The marked account."""
    selftest = Selftest(cloud, capsys, tmp_path)
    options = mark(cloud)
    launch = ["--image", options.image, "--instance-type", options.instance_type, "--vswitch", options.vswitch]
    peer = ["--peer", options.peer, "--peer-role", options.peer_role, "--external-id", options.external_id]
    through = ["--peer-through", options.peer_through]
    selftest.all_options = ["--instances", *launch, "--vpc", options.vpc, "--role", options.role, *peer, *through]
    return selftest


CallerActions = list[tuple[Caller, str]]
"""Who asked for which action."""


@pytest.fixture(name="accesses")
def _accesses(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> CallerActions:
    """What the cloud asks RAM for from now on."""
    accesses: CallerActions = []
    permitted = cloud.identity.permitted

    def noted(caller: Caller, access: Access, *args: Any, **options: Any) -> bool:
        accesses.append((caller, access.action))
        return permitted(caller, access, *args, **options)

    monkeypatch.setattr(cloud.identity, "permitted", noted)
    monkeypatch.setattr(cloud.ecs, "permitted", noted)
    return accesses


class Hurried(SystemClock):
    """The machine's time, and what waiting would have taken: the cloud's clock is not moved."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud, self._ahead = cloud, 0.0

    def now(self) -> float:
        return self._cloud.clock.now() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._ahead += seconds


def group(cloud: LocalCloud, **fields: Any) -> Any:
    """A group of the account in its own VPC."""
    return cloud.ecs.create_group(HOME, cloud.world.vpcs[0]["id"], **fields)


def by_verdict(rows: dict[int, dict[str, Any]]) -> dict[str, set[int]]:
    numbers_by_verdict: dict[str, set[int]] = {"as expected": set(), "different": set(), "not answered": set()}
    for number, row in rows.items():
        numbers_by_verdict[row["verdict"]].add(number)
    return numbers_by_verdict


def on_call(
    cloud: LocalCloud, number: int, after: bool, error: type[BaseException], dead: bool = False
) -> Callable[[], bool]:
    """Raise from the call with this number to the cloud, before or after it was carried out; if `dead`, from all later ones.

    Returns a function that ends it, and tells whether the call was reached.
    """
    handle, numbers, reached = cloud.handle, itertools.count(1), threading.Event()

    def interrupted(request: Request) -> Response:
        count = next(numbers)  # threads may call at the same time
        if count == number or (dead and count > number):
            reached.set()
            if after and count == number:
                handle(request)
            raise error
        return handle(request)

    cloud.handle = interrupted  # type: ignore[method-assign]

    def ended() -> bool:
        cloud.handle = handle  # type: ignore[method-assign]
        return reached.is_set()

    return ended


@pytest.fixture(name="only")
def _only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """`only("assert bench.group()")`: the questions are tests with these bodies, numbered from 1."""

    def only(*bodies: str) -> None:
        texts = [
            f'@pytest.mark.real_cloud({number}, expected="e")\ndef test_{number}(bench):\n    """A."""\n'
            + textwrap.indent(body, "    ")
            for number, body in enumerate(bodies, 1)
        ]
        folder = tmp_path / "own"
        folder.mkdir()
        text = "\n\n".join(["import os", "import signal", "import pytest", *texts])
        (folder / f"test_{abs(hash(tmp_path))}.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(run, "FOLDER", folder)
        run.questions.cache_clear()

    yield only
    run.questions.cache_clear()


@pytest.mark.parametrize(
    "knobs", [opposite()], indirect=True, ids=["opposite"]
)  # conformance asks under the default readings
def test_with_everything_given_every_question_that_exists_here_is_answered(
    accesses: CallerActions, selftest: Selftest
) -> None:
    """Also those about RAM, a second account, a second VPC, network interfaces and traffic.

    The person's keys are asked for no action that the page does not name.
    """
    before = selftest.existing()
    accesses.clear()
    numbers_by_verdict = by_verdict(selftest.rows(*selftest.all_options))
    answered = numbers_by_verdict["as expected"] | numbers_by_verdict["different"]
    assert answered >= QUESTIONS.keys() - NOT_OFFERED_HERE
    assert numbers_by_verdict["different"] == DIFFERENT_HERE.keys()
    assert selftest.code == 1
    assert (selftest.existing(), selftest.journal.exists()) == (before, False)
    selftest.clean_up()
    page = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    [line] = [line for line in page.splitlines() if line.startswith("- Your keys need ")]
    own_actions = {action for caller, action in accesses if (caller.account, caller.role) == (HOME, None)}
    assert own_actions - {"log:Unknown"} <= set(re.findall(r"`([a-z]+:\w+)`", line))  # what is not offered here
    assert len(own_actions) > 30


@pytest.mark.http
def test_questions_reach_a_cloud_through_endpoints_and_keys_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that need nothing given, over HTTP; but for those that wait for an event, which comes in the cloud's own time."""
    cloud = LocalCloud(SystemClock())
    load(cloud)
    mark(cloud)
    before = existing(cloud)
    use_keys(cloud, monkeypatch)
    monkeypatch.setattr(command, "SystemClock", lambda: Hurried(cloud))
    needing_nothing = {number for number, each in QUESTIONS.items() if not each.needs} - NOT_OFFERED_HERE - {59, 87}
    with serve(cloud) as server:
        selftest = Selftest(cloud, capsys, tmp_path, server.endpoint)
        numbers_by_verdict = by_verdict(
            selftest.rows(*(option for number in needing_nothing for option in ("--row", str(number))))
        )
    assert numbers_by_verdict["as expected"] | numbers_by_verdict["different"] == needing_nothing
    assert numbers_by_verdict["different"] <= DIFFERENT_HERE.keys()
    assert (existing(cloud), selftest.journal.exists()) == (before, False)


def test_a_row_that_cannot_be_answered_says_why(selftest: Selftest) -> None:
    """What it needs."""
    rows = selftest.rows("--row", "3", "--row", "16", "--row", "28", "--row", "53")
    reasons = {3: "needs --peer", 16: "needs --instances", 28: "needs --role", 53: "needs --vswitch"}
    assert {number: row["why"] for number, row in rows.items()} == reasons


def test_without_yes_nothing_is_created(selftest: Selftest) -> None:
    """The plan names each row, whether it would be answered, and what would be cleaned up."""
    before, called = selftest.existing(), selftest.cloud.faults.count("ecs", "Create*")
    plan = selftest()
    assert (selftest.code, plan["account"], len(plan["rows"])) == (0, HOME, len(QUESTIONS))
    assert selftest.run() == 0
    assert "Nothing was created" in selftest.out
    assert (selftest.existing(), selftest.cloud.faults.count("ecs", "Create*")) == (before, called)


@pytest.mark.usefixtures("keys")
def test_an_account_without_the_mark_is_refused(
    cloud: LocalCloud, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before anything is created; so is a VPC without it. Another value of the tag is no mark; the message has the command that
    sets it."""
    own_vpc, peers, _ = cloud.world.vpcs
    cloud.ecs.create_group(HOME, own_vpc["id"], tags={MARK[0]: "no"})
    selftest = Selftest(cloud, capsys, tmp_path)
    assert selftest.run("--yes") == 1
    assert "is not marked" in selftest.err
    assert f"--Tag.1.Key {MARK[0]} --Tag.1.Value yes" in selftest.err
    assert cloud.faults.count("ecs", "CreateSecurityGroup") == 0
    mark(cloud)  # another VPC
    assert selftest.run("--yes", "--vpc", peers["id"]) == 1
    assert f"VPC {peers['id']} of account {HOME} is not marked" in selftest.err


def test_the_first_evening_asks_ten_rows_of_a_marked_account(
    cloud: LocalCloud, keys: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no option. It shows the rows and what they cost; with --yes it makes no more calls than that, writes a report that names no
    account, says where to send it, and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    mark(cloud)
    selftest, before = Selftest(cloud, capsys, tmp_path), existing(cloud)
    assert selftest.run("--first-evening") == 0
    assert "Expected cost: at most 10 calls of mns" in selftest.out
    assert "10 of 10 rows would be answered" in selftest.out
    assert "10 calls of mns" in selftest("--first-evening")["cost"]
    assert existing(cloud) == before
    start, began = len(cloud.faults.calls), cloud.clock.now()
    assert selftest.run("--first-evening", "--yes") == 0
    counts = Counter(call.service for call in list(cloud.faults.calls)[start:])
    assert {service: count for service, count in counts.items() if count > FIRST_EVENING_CALLS.get(service, 0)} == {}
    assert cloud.clock.now() - began < FIRST_EVENING_MINUTES * 60
    [path] = tmp_path.glob("*.json")
    assert path.name == "2026-11-25-cn-qingdao.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    assert [row["number"] for row in report["rows"]] == list(FIRST_EVENING)
    assert {row["verdict"] for row in report["rows"]} == {"as expected"}
    assert HOME not in path.read_text(encoding="utf-8")
    assert f"{path.name} names no account" in selftest.err
    assert selftest.err.rstrip().endswith(command.FORM)
    assert existing(cloud) == before


def test_the_first_evening_chooses_the_rows(selftest: Selftest) -> None:
    with pytest.raises(SystemExit):
        selftest.run("--first-evening", "--row", "1")


def test_ctrl_c_leaves_nothing_behind(selftest: Selftest) -> None:
    """Whichever call it interrupts, before or after it was carried out in turn. In the clean-up it leaves the rest to --clean-up."""
    before, number = selftest.existing(), 4  # after the identity and the mark
    while True:
        ended = on_call(selftest.cloud, number, bool(number % 2), KeyboardInterrupt)
        report = selftest("--yes", "--row", "8", "--row", "35", "--role", ROLE)
        if not ended():
            break
        assert (report["interrupted"], selftest.code) == (True, 1)
        if report["left"]:
            selftest.clean_up()
        assert (selftest.existing(), selftest.journal.exists()) == (before, False), number
        number += 1
    assert number > 20


@pytest.mark.parametrize("journal", [True, False], ids=["journal", "no journal"])
def test_a_crash_leaves_nothing_that_is_not_found_again(selftest: Selftest, journal: bool) -> None:
    """--clean-up removes what a dead process left: by the journal, or without it by name and tag."""
    before, reached, number = selftest.existing(), True, 4 if journal else 5
    options = ["--yes", "--row", "8", "--row", "35", "--role", ROLE]
    while reached:
        ended = on_call(selftest.cloud, number, True, Killed, dead=True)
        with contextlib.suppress(Killed):
            selftest.run(*options)
        reached = ended()
        if selftest.journal.exists() and journal:
            assert selftest.run(*options) == 1
            assert "aliyun-selftest --clean-up" in selftest.err
        elif selftest.journal.exists():
            selftest.journal.unlink()
        assert selftest.clean_up()["left"] == []
        assert selftest.existing() == before, number
        number += 3
    assert number > 20


def test_a_failing_call_leaves_nothing_behind(selftest: Selftest) -> None:
    """Each call of three rows fails once: its row is not answered or is, the others are, and everything is removed."""
    before = selftest.existing()
    for number in range(4, 44, 3):
        selftest.cloud.faults.add(Fault(kind=("error", "reset-after")[number % 2], skip=number))
        selftest("--yes", "--row", "8", "--row", "35", "--row", "62", "--role", ROLE)
        selftest.cloud.faults.clear()
        if selftest.journal.exists():
            assert selftest.clean_up()["left"] == []
        assert selftest.existing() == before, number


def test_a_bug_in_a_question_costs_no_other_one(selftest: Selftest, only: Callable[..., None]) -> None:
    """And what it created is removed before the next one."""
    only("bench.group()\nraise ZeroDivisionError", "bench.saw(str(len(bench.journal.remaining())))")
    rows = selftest.rows()
    assert (rows[1]["why"], rows[2]["verdict"], rows[2]["seen"]) == ("ZeroDivisionError: ", "as expected", "0")


def test_a_question_is_answered_by_all_its_tests(selftest: Selftest, only: Callable[..., None]) -> None:
    """One that fails makes it different, and says what it saw, or else what it asserted."""
    only(
        "assert bench.account, 'unseen'", "bench.saw('two rules')\nassert not bench.account", "assert 1 > 2, 'no more'"
    )
    rows = selftest.rows()
    assert [row["verdict"] for row in rows.values()] == ["as expected", "different", "different"]
    assert [row["seen"] for row in rows.values()] == ["", "two rules", "no more"]


def test_sigterm_cleans_up_too(selftest: Selftest, only: Callable[..., None]) -> None:
    """A stopped build job ends like Ctrl-C. The handler of before is restored."""
    before, handler = selftest.existing(), signal.getsignal(signal.SIGTERM)
    only("bench.group()\nos.kill(os.getpid(), signal.SIGTERM)\nraise AssertionError('the signal was ignored')")
    assert selftest("--yes")["interrupted"] is True
    assert (selftest.existing(), signal.getsignal(signal.SIGTERM)) == (before, handler)


def test_what_cannot_be_removed_is_reported(selftest: Selftest) -> None:
    """With its name and the code; the journal still has it, and --clean-up removes it later."""
    before = selftest.existing()
    selftest.cloud.faults.add(
        Fault(service="ecs", action="DeleteSecurityGroup", code="Forbidden.RAM", status=403, times=None)
    )
    report = selftest("--yes", "--row", "8")
    assert selftest.code == 1
    assert len(report["left"]) == 2
    assert all("Forbidden.RAM" in each for each in report["left"])
    selftest.cloud.faults.clear()
    assert len(selftest("--clean-up")["found"]) == 2
    assert selftest.existing() != before
    assert selftest.clean_up()["left"] == []
    assert selftest.existing() == before


def test_cleaning_up_touches_nothing_else(selftest: Selftest) -> None:
    """A group needs both the name and the tag of a run; a queue or log project of a similar name stays too."""
    run, name = {"cloud-selftest.run": "abcdefgh"}, "cloud-selftest-abcdefgh-1"
    ours = group(selftest.cloud, tags=run, name=name)
    group(selftest.cloud, name=name)
    group(selftest.cloud, tags=run, name="cloud-selftest-abcdefgh")
    group(selftest.cloud, tags=run, name=f"other-{name}")
    for queue in ("cloud-selftest-abc", "cloud-selftest-abcdefgh-x"):
        selftest.cloud.mns.create_queue(HOME, queue)
    selftest.cloud.sls.create_project(HOME, "cloud-selftest-abcdefgh-1x")
    before = selftest.existing()
    selftest.clean_up()
    after = selftest.existing()
    assert (before[0] - after[0], after[1:]) == ({ours.id}, before[1:])


def test_the_report_can_be_published(selftest: Selftest, tmp_path: Path) -> None:
    """It has the date, region, versions and each row with expected, seen and verdict, but no account's uid."""
    path = tmp_path / "report.json"
    selftest("--yes", "--row", "1", "--row", "62", "--row", "63", "--out", str(path))
    text = path.read_text(encoding="utf-8")
    report = json.loads(text)
    assert HOME not in text
    assert report["cloud"].startswith("local cloud at ")
    assert (report["region"], report["date"][:4], report["instances"]) == ("cn-qingdao", "2026", False)
    assert report["packages"]["alibabacloud-ecs20140526"].startswith("7.")
    assert report["counts"] == {"as expected": 3}
    assert report["rows"][0] == {
        "number": 1,
        "assumed": QUESTIONS[1].assumed,
        "expected": QUESTIONS[1].expected,
        "verdict": "as expected",
        "seen": "1 rule(s) with description first",
        "why": "",
        "facts": {},
        "seconds": report["rows"][0]["seconds"],
    }


def test_the_report_hides_who_made_a_call(selftest: Selftest, only: Callable[..., None], tmp_path: Path) -> None:
    """Of an event it shows the fields, not who made the call, from where and with which key."""
    identity = "{'type': 'ram-user', 'userName': 'ann', 'principalId': '26', 'accessKeyId': 'LTAI'}"
    only(f"bench.saw('x', {{'event': {{'data': [{{'sourceIpAddress': '203.0.113.7', 'userIdentity': {identity}}}]}}}})")
    path = tmp_path / "report.json"
    selftest("--yes", "--out", str(path))
    [row] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    hidden = dict.fromkeys(("userName", "principalId", "accessKeyId"), "<hidden>")
    event_shown = {"sourceIpAddress": "<hidden>", "userIdentity": {"type": "ram-user", **hidden}}
    assert row["facts"] == {"event": {"data": [event_shown]}}


def test_a_different_cloud_is_noticed(selftest: Selftest) -> None:
    """Each of these changes what the cloud does, and the row about it says so; the command then exits with 1."""
    selftest.cloud.ecs.quotas.group_source_rules = 19
    selftest.cloud.ecs.read_lag.rules = 5
    rows = selftest.rows("--row", "11", "--row", "13", "--row", "20")
    assert [rows[number]["verdict"] for number in (11, 13, 20)] == ["different", "different", "as expected"]
    assert selftest.code == 1


def test_the_table_shows_verdicts(selftest: Selftest) -> None:
    """And the counts below it."""
    assert selftest.run("--yes", "--row", "1") == 0
    assert "as expected 1" in selftest.out
    assert "1 rule(s)" in selftest.out


def test_groups_that_name_each_other_are_removed(selftest: Selftest, only: Callable[..., None]) -> None:
    """Neither could be deleted while the other's rule names it. Egress rules count, too."""
    before = selftest.existing()
    mutual = """
    a, b = bench.group(), bench.group()
    bench.authorize(a, {"source_group_id": b})
    bench.authorize(b, {"source_group_id": a})
    bench.authorize_egress(b, dest_group_id=a)
    """
    only(textwrap.dedent(mutual))
    report = selftest("--yes")
    assert (report["counts"], report["left"]) == ({"as expected": 1}, [])
    assert selftest.existing() == before


def test_a_journal_survives_the_process(tmp_path: Path) -> None:
    """With the ids it knows; a line that a crash cut short says nothing. With the last resource, the file is deleted."""
    path = tmp_path / "journal"
    journal = Journal(path)
    resource = journal.plan(Resource("group", "a", HOME, "cn-qingdao", "run"))
    journal.note_created(resource, "sg-a")
    journal.plan(Resource("queue", "b", HOME, "cn-qingdao", "run"))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"what": "plan", "na')
    again = Journal(path)
    assert [(each.name, each.id) for each in again.remaining()] == [("b", ""), ("a", "sg-a")]
    for each in again.remaining():
        assert path.exists()
        again.note_deleted(each)
    assert not path.exists()
