"""What parts of commands do with an answer or a value that the local cloud never gives."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.errors import Transient
from link_peer.domain.model import Link, Port
from link_peer.domain.request import Request, SweepAccount
from link_peer_cli.audit.log import read_error
from link_peer_cli.checks import functions
from link_peer_cli.checks.finding import DIFFERS, OK
from link_peer_cli.deployed.functions import DeployedTrigger
from link_peer_cli.review.delivery import Kept
from link_peer_cli.review.plans import print_closed
from link_peer_deploy.manifest import Function, Trigger

from tests.unit.small_world import APP, DB, HOME, NOW, REGION

PORT = Port("tcp", 1, 1)


# a dry run


def test_a_dry_run_keeps_the_messages_that_would_be_delivered_at_once() -> None:
    """One with a delay waits for something outside, and the sweep of an account would go on with the account's other links."""
    request = Request("chg-1", "link", REGION, Link(APP, DB, (PORT,)), NOW + 600)
    kept_messages = Kept()
    kept_messages.post(request)
    kept_messages.post(request, delay=1)
    kept_messages.post(SweepAccount(REGION, HOME, NOW))
    kept_messages.post(SweepAccount(REGION, HOME, NOW), delay=1)
    assert kept_messages.posted == [request]


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_a_command_closed_is_printed_without_the_way_to_open_it_again(
    capsys: pytest.CaptureFixture[str], dry_run: bool
) -> None:
    """Whoever closes it does not want it back."""
    record = {"record": "outcome", "outcome": "removed", "action": "unlink", "from": "sg-app", "to": "sg-db"}
    record |= {"link": "0" * 16, "ports": "tcp/1"}
    print_closed([{**record, "advice": "post it again: link-peer request link"}], [], [], {}, dry_run=dry_run)
    output = capsys.readouterr().out
    assert "sg-app" in output
    assert "advice" not in output
    assert "request link" not in output


# `doctor`


@pytest.mark.parametrize(
    ("source", "state"),
    [
        ({"eventSourceParameters": {"sourceMNSParameters": {"QueueName": "link-peer"}}}, OK),
        ({"eventSourceParameters": {"sourceMNSParameters": {"QueueName": "other"}}}, DIFFERS),
        ({"eventSourceParameters": {"sourceMNSParameters": None}}, DIFFERS),
        ({"eventSourceParameters": None}, DIFFERS),
        ({}, DIFFERS),
    ],
)
def test_a_trigger_without_a_queue_differs_from_one_with_it(source: dict[str, Any], state: str) -> None:
    """The platform may answer null where nothing is set."""
    config = {"eventSourceConfig": {"eventSourceParameters": {"sourceMNSParameters": {"QueueName": "link-peer"}}}}
    shipped = Trigger("queue", "eventbridge", config)
    deployed = DeployedTrigger("queue", "eventbridge", "LATEST", {"eventSourceConfig": source})
    function = Function("link-peer-cross-account", "cross_account.handler")
    assert functions._trigger(function, shipped, deployed).state == state


# the audit log


@pytest.mark.parametrize(
    ("status", "code", "message", "text"),
    [
        ("500", "InternalServerError", "try again", "InternalServerError"),
        ("", "LogRequestError", "Failed to resolve 'logs.example.com'", "its name cannot be resolved (DNS)"),
        ("", "LogRequestError", "closed", "no response"),
        ("429", "Throttled", "slow down", "Throttled"),
        ("403", "ReadQuotaExceed", "slow down", "ReadQuotaExceed"),
        ("403", "Unauthorized", "no", ""),
        ("400", "ParameterInvalid", "no", ""),
        ("499", "ParameterInvalid", "no", ""),
    ],
)
def test_an_error_of_the_log_service_is_for_good_or_says_what_did_not_answer(
    status: str, code: str, message: str, text: str
) -> None:
    """A 4xx is for good, but for a rate limit."""
    error = LogError(status, code, message)
    trouble = read_error(error)
    assert isinstance(trouble, Transient) is bool(text)
    assert str(trouble) == (
        f"the audit log cannot be read now: {text}" if text else f"the audit log cannot be read: {message}"
    )


class LogError(Exception):
    """An error of the log service's SDK."""

    def __init__(self, status: str, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def get_resp_status(self) -> str:
        return self.status

    def get_error_code(self) -> str:
        return self.code

    def get_request_id(self) -> str:
        return ""
