"""A provider for Terraform that has the schema of aliyun/alicloud, of the resources in this folder, and creates
nothing.

Terraform starts it as a plugin, in an environment of its own (`make test-terraform`). It speaks protocol 5 of plugins,
[source hashicorp/terraform docs/plugin-protocol/tfplugin5.proto], as far as validate and plan need it: messages are put
together by hand, since that takes less than generated code.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import schema as official

ELEMENTS = {"list": ["list", "string"], "set": ["set", "string"], "map": ["map", "string"]}
NESTING = {"list": 2, "set": 3}
PROPOSED, PLANNED = 3, 1
"""Fields of a PlanResourceChange request and of its response."""


def field(number: int, value: bytes | str | int | bool) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(int(value))
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """A number in protobuf's coding."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def parts(message: bytes) -> dict[int, bytes]:
    """The fields of a message whose fields are all strings or messages; of each the last."""
    fields, at = {}, 0
    while at < len(message):
        tag, at = _read(message, at)
        size, at = _read(message, at)
        fields[tag >> 3] = message[at : at + size] if tag & 7 == 2 else b""
        at += size if tag & 7 == 2 else 0
    return fields


def _read(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if message[at - 1] < 0x80:
            return value, at


def block(arguments: dict[str, Any]) -> bytes:
    """A schema's Block."""
    out = b""
    for name, argument in sorted(arguments.items()):
        if "block" in argument:
            nested = field(1, name) + field(2, block(argument["arguments"])) + field(3, NESTING[argument["block"]])
            nested += field(4, 1) if argument.get("required") else b""
            nested += field(5, argument["max"]) if "max" in argument else b""
            out += field(3, nested)
        else:
            kind = ELEMENTS.get(argument["type"], argument["type"])
            how = 4 if argument.get("required") else 6 if argument.get("computed") else 5
            out += field(2, field(1, name) + field(2, json.dumps(kind)) + field(how, True))
    return out


def schema(_: bytes) -> bytes:
    """The answer to GetSchema."""
    text = "".join(path.read_text(encoding="utf-8") for path in Path().glob("*.tf"))
    out = field(1, field(2, block({"region": {"type": "string"}})))
    for kind in set(re.findall(r'resource "(alicloud_\w+)"', text)):
        out += field(2, field(1, kind) + field(2, field(2, block(official.resource(kind)))))
    return out


def plan(request: bytes) -> bytes:
    """The answer to PlanResourceChange: what is asked for."""
    return field(PLANNED, parts(request)[PROPOSED])


ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "GetSchema": schema,
    "PrepareProviderConfig": lambda request: field(1, parts(request)[1]),
    "ValidateResourceTypeConfig": lambda _: b"",
    "Configure": lambda _: b"",
    "PlanResourceChange": plan,
    "Stop": lambda _: b"",
}


def main() -> None:
    """Serve until Terraform ends the process."""
    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {name: grpc.unary_unary_rpc_method_handler(_handler(answer)) for name, answer in ANSWERS.items()}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tfplugin5.Provider", handlers)])
    shutdown = {"Shutdown": grpc.unary_unary_rpc_method_handler(_handler(lambda _: _stop(server)))}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("plugin.GRPCController", shutdown)])
    address = str(Path(tempfile.mkdtemp()) / "plugin")
    server.add_insecure_port(f"unix:{address}")
    server.start()
    print(f"1|5|unix|{address}|grpc", flush=True)  # the handshake of go-plugin
    server.wait_for_termination()


def _stop(server: grpc.Server) -> bytes:
    server.stop(grace=1)
    return b""


def _handler(answer: Callable[[bytes], bytes]) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    return lambda request, _: answer(request)


if __name__ == "__main__":
    main()
