"""A command that is stopped says what it changed and what it did not, and goes on when it is run again."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aliyun_local.api import Request, Response, VirtualClock
from link_peer_cli.access.environment import NoticeClock
from link_peer_cli.ui.changes import AGAIN, MAX_CHANGES, STOPPED, lines

from tests.functional.command import Cli, person, write_profiles
from tests.functional.lab import HOME, PEER, Lab

NOTHING = "stopped by Ctrl-C: nothing was changed"


def on_call(lab: Lab, number: int, after: bool, error: type[BaseException]) -> Callable[[], bool]:
    """Raise from the call with this number to the cloud, before or after it was carried out.

    Returns a function that ends it, and tells whether the call was reached.
    """
    handle, numbers, reached = lab.cloud.handle, itertools.count(1), threading.Event()

    def interrupted(request: Request) -> Response:
        count = next(numbers)  # threads may call at the same time
        if count == number:
            reached.set()
            if after:
                handle(request)
            raise error
        return handle(request)

    lab.cloud.handle = interrupted  # type: ignore[method-assign]

    def ended() -> bool:
        lab.cloud.handle = handle  # type: ignore[method-assign]
        return reached.is_set()

    return ended


def linked(lab: Lab) -> tuple[str, str, str]:
    """A group, one that accepts it, and an instance of the first, which asks for a link."""
    app, db = lab.group(), lab.group("*")
    lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {db.id}:tcp/3307"})
    return app.id, db.id, instance.id


def sweep(lab: Lab, cli: Cli) -> list[str]:
    """It opens a link."""
    linked(lab)
    return ["sweep"]


def close(lab: Lab, cli: Cli) -> list[str]:
    """It locks two groups and removes their rules."""
    app, db, _ = linked(lab)
    lab.sweep()
    return ["close", app, db, "--yes"]


def reopen(lab: Lab, cli: Cli) -> list[str]:
    """It takes the locks off."""
    app, db, _ = linked(lab)
    assert cli("close", app, db, "--yes") == 0
    return ["reopen", "--all"]


def accept(lab: Lab, cli: Cli) -> list[str]:
    """It writes a tag."""
    app, db, _ = linked(lab)
    return ["accept", app, db]


def apply(lab: Lab, cli: Cli) -> list[str]:
    """It makes the changes of a plan."""
    _, _, instance = linked(lab)
    assert cli("plan", instance, "--out", "plan.json") == 0
    return ["apply", "plan.json", "--yes"]


def adopt(lab: Lab, cli: Cli) -> list[str]:
    """It writes consent, changes a rule and posts a request."""
    app, db = lab.group(), lab.group()
    return ["adopt", person(lab, db, app), "--group", db.id, "--anyone-may-close", "--yes"]


def account(lab: Lab, cli: Cli) -> list[str]:
    """It makes the roles of an account, changes home's, and writes the policy file."""
    return ["account", "add", "1000000000000003", "--profile", "new", "--write"]


def leave(lab: Lab, cli: Cli) -> list[str]:
    """It closes an account's links, deletes its roles and changes home's."""
    app, db = lab.pair()
    lab.instance(db)
    lab.instance(app, tags={"link-peer": f"{db.id}@{PEER}"})
    lab.sweep()
    lab.drain()
    return ["account", "remove", PEER, "--profile", "peer", "--yes"]


def setup(lab: Lab, cli: Cli) -> list[str]:
    """It makes everything."""
    return ["setup", "--yes"]


COMMANDS: dict[Callable[[Lab, Cli], list[str]], int] = {
    **dict.fromkeys([accept, reopen], 1),
    **dict.fromkeys([sweep, close, account], 5),
    **dict.fromkeys([apply, adopt], 7),
    leave: 17,
    setup: 29,
}
"""Each with how many of its calls pass between two that are interrupted: the more it makes."""


def state(lab: Lab) -> list[Any]:
    """What commands change: rules, tags, roles, policies, messages and the policy file."""
    cloud = lab.cloud
    groups = [
        (g.id, lab.rules_of(g), lab.tags(g)) for uid in (HOME, PEER) for g in cloud.ecs.accounts[uid].groups.values()
    ]
    roles = [(name, role.attached) for name, role in cloud.identity.roles.items()]
    policies = [(name, policy.document) for name, policy in cloud.identity.policies.items()]
    queue = cloud.mns.depth(HOME, cloud.world.queue)
    return [groups, roles, policies, queue, lab.policy_path.read_text()]


@pytest.fixture(name="began")
def _began(
    make_lab: Callable[[], Lab], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Callable[[Lab, Cli], list[str]]], tuple[Lab, Cli, list[str]]]:
    """A world in which a command may begin, and its arguments."""
    monkeypatch.chdir(tmp_path)

    def begin(command: Callable[[Lab, Cli], list[str]]) -> tuple[Lab, Cli, list[str]]:
        lab, cli = make_lab(), Cli(capsys)
        lab.cloud.identity.add_account("1000000000000003", "c@aliyun.com")
        shutil.rmtree(tmp_path / ".aliyun", ignore_errors=True)
        write_profiles(lab, monkeypatch, tmp_path, {"new": "1000000000000003", "peer": PEER})
        return lab, cli, command(lab, cli)

    return begin


@pytest.mark.knobs(request_tags=True)  # else nobody may write the tags of locks
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_at_any_call_says_what_was_changed(began: Any, command: Callable[[Lab, Cli], list[str]]) -> None:
    """Before or after it was carried out, in turn. Exit code 130; and where it says that nothing was changed, nothing
    was. Run again, it does the rest."""
    number, changed = 1, 0
    while True:
        lab, cli, args = began(command)
        before, ended = str(state(lab)), on_call(lab, number, bool(number % 2), KeyboardInterrupt)
        code, error_text = cli(*args), cli.err
        if not ended():
            break
        assert (code, "Traceback" in error_text) == (130, False), number
        if error_text == f"{NOTHING}\n":
            assert str(state(lab)) == before, number
        else:
            changed += 1
            assert error_text.startswith("stopped by Ctrl-C\n"), error_text
            assert "done: " in error_text
            assert error_text.splitlines()[-1].startswith("Run the same command again")
        assert cli(*args) == 0, (number, cli.err)
        number += COMMANDS[command]
    assert changed > 0


@pytest.mark.knobs(request_tags=True)
def test_what_is_left_is_named(began: Any) -> None:
    """The changes that were made, the one under way, and those that had not begun; with --json as lists."""
    lab, cli, args = began(close)
    app, db = (f"{name}@{HOME}" for name in args[1:3])
    locks = [f"put tag link-lock on {group}" for group in sorted((app, db))]
    rules = [f"remove tcp/{port} from {app} on {db}" for port in (3306, 3307)]
    number = 1
    while not cli.err.startswith("stopped by Ctrl-C\n"):
        ended = on_call(lab, number, False, KeyboardInterrupt)
        cli(*args)
        ended()
        number += 1
    expected_lines = [*(f"perhaps done: {lock}" for lock in locks), *(f"not done: {rule}" for rule in rules)]
    assert cli.err.splitlines() == ["stopped by Ctrl-C", *expected_lines, AGAIN]
    ended = on_call(lab, number - 1, False, KeyboardInterrupt)
    assert cli(*args, "--json") == 130
    ended()
    assert json.loads(cli.err) == {
        "error": "stopped by Ctrl-C",
        "done": [],
        "perhaps_done": locks,
        "not_done": rules,
        "then": AGAIN,
    }


def test_of_many_changes_the_rest_is_counted_by_account() -> None:
    """As a closing makes them in several accounts side by side."""
    whats = [f"remove tcp/1 from sg-a@{HOME} on sg-{n}@{(HOME, PEER)[n % 2]}" for n in range(MAX_CHANGES + 5)]
    *named_lines, last_line = lines({"done": whats})
    assert named_lines == [f"done: {change}" for change in whats[:MAX_CHANGES]]
    assert last_line == f"done: 5 more, 3 in account {HOME}, 2 in account {PEER}"


def test_an_account_that_joins_half_is_told_apart(began: Any) -> None:
    """Each of its resources, those of home, and the policy file. SIGTERM has an exit code of its own."""
    lab, cli, args = began(account)
    handle = lab.cloud.handle

    def terminated(request: Request) -> Response:
        if request.headers.get("x-acs-action") == "CreateRole":
            signal.raise_signal(signal.SIGTERM)
        return handle(request)

    lab.cloud.handle = terminated
    assert cli(*args) == 143
    lines = cli.err.splitlines()
    assert lines[0] == "stopped by SIGTERM"
    assert "done: account 1000000000000003: create policy link-peer" in lines
    assert "perhaps done: account 1000000000000003: create role link-peer" in lines
    assert "not done: account 1000000000000003: create role link-peer-reader" in lines
    assert f"not done: write {lab.policy_path}" in lines
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_request_is_not_posted_again(began: Any) -> None:
    """While it waits for the outcome, the request is on the queue."""
    lab, cli, _ = began(accept)
    app, db, _ = linked(lab)
    number, command = 1, ("request", "link", "--from", app, "--to", db, "--request-id", "chg-1", "--wait")
    while not cli.err.startswith("posted"):
        ended = on_call(lab, number, False, KeyboardInterrupt)
        assert cli(*command) == 130
        ended()
        number += 1
    assert cli.err.splitlines()[1:] == [
        "stopped by Ctrl-C",
        "done: post the request to link-peer-requests",
        "If it was posted, do not post another: link-peer audit request=chg-1 shows its outcome.",
    ]


def test_output_that_fails_midway_is_no_silence(began: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk, as at Ctrl-C, the changes are named."""
    _, cli, args = began(account)
    with monkeypatch.context() as patched, open("/dev/full", "w", encoding="utf-8") as full:
        patched.setattr(sys, "stdout", full)
        assert cli(*args) == 1
    lines = cli.err.splitlines()
    assert lines[0] == "stdout cannot be written: No space left on device"
    assert lines[1] == "done: account 1000000000000003: create policy link-peer"
    assert lines[-1] == AGAIN
    assert cli(*args) == 0


def test_ctrl_c_at_a_question_is_told_from_no(began: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the exit code."""
    _, cli, _ = began(sweep)

    def interrupted(_question: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("typer._click.termui.visible_prompt_func", interrupted)
    assert (cli("close", "--all"), cli.err) == (130, f"{NOTHING}\n")
    monkeypatch.setattr("typer._click.termui.visible_prompt_func", lambda _question: "n")
    assert cli("close", "--all") == 1
    assert NOTHING not in cli.err


@pytest.mark.parametrize(
    ("module", "message"),
    [("typer", ""), ("link_peer_cli.commands.check", f"{NOTHING}\n")],
)
def test_ctrl_c_at_the_start_is_no_stack_trace(module: str, message: str) -> None:
    """While the modules of the command line are imported, or those of one command."""
    program = f"""
import sys
class Finder:
    def find_spec(self, name, *_):
        if name == "{module}":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from link_peer_cli.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program, "check"], stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603  # our own
    assert (ended.returncode, ended.stderr) == (130, message)


def test_threads_that_wait_for_a_throttled_api_stop_too() -> None:
    """No signal reaches them: within a second of it, they wait no longer."""

    class Clock(VirtualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now() - start >= 3:
                STOPPED.set()

    clock, start = Clock(), VirtualClock().now()
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        pool.submit(NoticeClock(clock).sleep, 60.0).result()
    STOPPED.clear()
    assert clock.now() - start == 3
