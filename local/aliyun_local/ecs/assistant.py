"""Cloud Assistant: RunCommand with `ping` and `nc`, answered from what the security groups allow."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import shlex
from typing import Any

from aliyun_local.core.clock import utc
from aliyun_local.core.errors import ApiError
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.paging import page
from aliyun_local.ecs.params import invalid, missing
from aliyun_local.ecs.reach import may_reach
from aliyun_local.ecs.state import Instance, InstanceState, Invocation, new_id


def run_command(call: Call) -> dict[str, Any]:
    """Run a command on each instance at once; DescribeInvocationResults reads the outcome."""
    params = call.params
    if params.require("Type") not in ("RunShellScript", "RunBatScript", "RunPowerShellScript"):
        raise ApiError("InvalidParam.Type", 403)
    command = _content(params.require("CommandContent"), params.get("ContentEncoding", "PlainText"))
    ids = params.listed("InstanceId")
    if not ids:
        raise missing("InstanceId")
    if len(ids) > 100:
        raise ApiError("InstanceIds.ExceedLimit", 403)
    if not set(ids) <= {instance.id for instance in call.account.instances.values() if instance.states.at(call.now)}:
        raise ApiError("InvalidInstance.NotFound", 404)
    invoke_id, command_id = new_id("t").replace("bp1", "qd0", 1), new_id("c").replace("bp1", "qd0", 1)
    for instance_id in dict.fromkeys(ids):
        status, output, code, error = _run(call, *call.instance(instance_id), command)
        call.store.invocations.append(
            Invocation(
                account=call.account.uid,
                id=invoke_id,
                command_id=command_id,
                instance_id=instance_id,
                sequence=call.store.next_sequence(),
                when=call.now,
                status=status,
                output=output,
                exit_code=code,
                error=error,
            )
        )
    return {"CommandId": command_id, "InvokeId": invoke_id}


def _content(text: str, encoding: str) -> str:
    if encoding not in ("PlainText", "Base64"):
        raise invalid("ContentEncoding")
    if encoding == "PlainText":
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid("CommandContent") from None


Result = tuple[str, str, "int | None", tuple[str, str]]


def _run(call: Call, instance: Instance, state: InstanceState, command: str) -> Result:
    """Status, output, exit code and error of one run [doc DescribeInvocationResults]."""
    if state.status != "Running":
        return "Aborted", "", None, ("InstanceNotRunning", "the instance is not running when create task")
    if instance.assistant[0]:
        return "Aborted", "", None, instance.assistant
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if words[:1] == ["ping"]:
        output, code = _ping(call, instance, words[1:])
    elif words[:1] in (["nc"], ["ncat"]):
        output, code = _nc(call, instance, words[1:])
    else:
        output, code = f"sh: line 1: {words[0] if words else command}: command not found\n", 127
    if code:
        return "Failed", output, code, ("ExitCodeNonzero", "the command execution exit code is not zero")
    return "Success", output, 0, ("", "")


def _reached(call: Call, source: Instance, address: str, protocol: str, port: int = -1) -> Instance | None:
    """The instance with that address that a packet of the source arrives at, if one does."""
    instances = (instance for account in call.store.accounts.values() for instance in account.instances.values())
    return next(
        (
            instance
            for instance in instances
            if instance.private_ip == address
            and instance.states.at(call.now)
            and may_reach(call.store, source.account, source.id, instance.account, instance.id, protocol, port).ok
        ),
        None,
    )


def _ping(call: Call, source: Instance, words: list[str]) -> tuple[str, int]:
    """`ping [-c N] [-W S] [-w S] [-i S] ADDRESS`, with the output of iputils; exit code 1 without a reply."""
    text = " ".join(words)
    address = next((word for word in words if _is_address(word)), "")
    if not address:
        return f"ping: {words[-1] if words else ''}: Name or service not known\n", 2
    match = re.search(r"-c ?(\d+)", text)
    count = min(int(match[1]) if match else 4, 100) or 1
    lines = [f"PING {address} ({address}) 56(84) bytes of data."]
    if _reached(call, source, address, "icmp"):
        lines += [f"64 bytes from {address}: icmp_seq={n} ttl=64 time=0.200 ms" for n in range(1, count + 1)]
        summary = f"{count} packets transmitted, {count} received, 0% packet loss, time {(count - 1) * 1000}ms"
        timing, code = ["rtt min/avg/max/mdev = 0.200/0.200/0.200/0.000 ms"], 0
    else:
        summary = f"{count} packets transmitted, 0 received, 100% packet loss, time {(count - 1) * 1000}ms"
        timing, code = [], 1
    lines += ["", f"--- {address} ping statistics ---", summary, *timing, ""]
    return "\n".join(lines), code


def _nc(call: Call, source: Instance, words: list[str]) -> tuple[str, int]:
    """`nc [-z] [-v] [-u] [-w S] ADDRESS PORT`: whether the security groups allow the connection, and something
    listens."""
    positional = [word for word in words if not word.startswith("-")][-2:]
    if len(positional) != 2 or not _is_address(positional[0]) or not positional[1].isdigit():
        return "Ncat: You must specify a host and a port to connect to. QUITTING.\n", 2
    address, port = positional[0], int(positional[1])
    udp = any(re.fullmatch(r"-[a-z]*u[a-z]*", word) for word in words)
    target = _reached(call, source, address, "udp" if udp else "tcp", port)
    if target and not udp and port in target.closed_ports:
        return "Ncat: Connection refused.\n", 1
    if target:
        return f"Ncat: Connected to {address}:{port}.\n", 0
    return "Ncat: TIMEOUT.\n", 1


def _is_address(word: str) -> bool:
    try:
        ipaddress.IPv4Address(word)
    except ValueError:
        return False
    return True


def describe_invocation_results(call: Call) -> dict[str, Any]:
    """Results, newest first; the output is base64 unless ContentEncoding is PlainText [doc]."""
    params = call.params
    encoding = params.get("ContentEncoding", "Base64")
    if encoding not in ("PlainText", "Base64"):
        raise invalid("ContentEncoding")
    runs = [
        run
        for run in reversed(call.store.invocations)
        if run.account == call.account.uid
        and params.get("InvokeId") in ("", run.id)
        and params.get("InstanceId") in ("", run.instance_id)
        and params.get("CommandId") in ("", run.command_id)
        and params.get("InvokeRecordStatus") in ("", _record_status(run))
    ]
    chosen, paging = page(call, lambda _: runs, lambda run: run.sequence, most=50, most_by_number=50, descending=True)
    return {"Invocation": {"InvocationResults": {"InvocationResult": [_answer(r, encoding) for r in chosen]}, **paging}}


def _record_status(run: Invocation) -> str:
    return "Finished" if run.exit_code == 0 else "Failed"


def _answer(run: Invocation, encoding: str) -> dict[str, Any]:
    output = base64.b64encode(run.output.encode()).decode() if encoding == "Base64" else run.output
    answer: dict[str, Any] = {
        "InvokeId": run.id,
        "CommandId": run.command_id,
        "InstanceId": run.instance_id,
        "InvocationStatus": run.status,
        "InvokeRecordStatus": _record_status(run),
        "Output": output,
        "Dropped": 0,
        "Repeats": 0 if run.exit_code is None else 1,
        "ErrorCode": run.error[0],
        "ErrorInfo": run.error[1],
        "StartTime": utc(run.when),
        "FinishedTime": utc(run.when),
        "StopTime": "",
        "Username": "root",
    }
    if run.exit_code is not None:
        answer["ExitCode"] = run.exit_code
    return answer
