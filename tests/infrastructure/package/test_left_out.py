"""What is not in the package: its stand-ins, and what happens when one is used after all."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from aliyun_local.api import LocalCloud
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from link_peer.alicloud.leave_out import LEFT_OUT
from link_peer_deploy import packaging as build
from link_peer_deploy.cut import CLIENTS
from link_peer_deploy.instance import FunctionInstance, HandlerError

from tests.infrastructure.package.conftest import pinned

SDKS = """
from link_peer.app import compose
compose.start()
from link_peer.alicloud import lazy_models, sdk
lazy_models.install()
import sys
from alibabacloud_ecs20140526.client import Client
from alibabacloud_ecs20140526.models import DescribeSecurityGroupsRequest
from alibabacloud_tea_openapi.models import Config
client = Client(Config(access_key_id="a", access_key_secret="b", region_id="cn-qingdao", endpoint="127.0.0.1:9"))
"""


MISSING = """
import builtins, dis, importlib
from link_peer.app import compose
compose.start()
module = importlib.import_module(name)
def globals_of(code):
    found = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return found.union(*(globals_of(inner) for inner in code.co_consts if hasattr(inner, "co_code")))
used = globals_of(compile(open(module.__file__, encoding="utf-8").read(), name, "exec", 1 << 24))
answer = sorted(used - vars(module).keys() - vars(getattr(module, client)).keys() - vars(builtins).keys())
"""
"""Run in an instance: the names that a module uses and nothing gives it."""


@pytest.fixture(name="instance")
def _instance(start: Callable[[LocalCloud], FunctionInstance], local_cloud: LocalCloud) -> FunctionInstance:
    local_cloud.endpoint = "http://127.0.0.1:9"
    return start(local_cloud)


@pytest.mark.parametrize(
    ("code", "used"),
    [
        (
            "import asyncio; from darabonba import core, request; sent = request.DaraRequest(); sent.protocol = 'http';"
            " sent.headers = {'host': '127.0.0.1'}; asyncio.run(core.DaraCore.async_do_action(sent))",
            "aiohttp.TCPConnector",
        ),
        (
            "from alibabacloud_tea_openapi import utils; utils.signature_method('key', 'text', 'ACS3-RSA-SHA256')",
            "cryptography.hazmat.primitives.serialization.load_pem_private_key",
        ),
        (
            "from alibabacloud_credentials.client import Client as Keys; Keys()",
            "alibabacloud_credentials.provider.default.DefaultCredentialsProvider",
        ),
        ("from aliyun.log.util import parse_timestamp; parse_timestamp('yesterday')", "dateutil.parser.parse"),
    ],
    ids=["asynchronous", "rsa", "credentials", "times"],
)
def test_using_what_is_left_out_says_what_was_used(warm: FunctionInstance, code: str, used: str) -> None:
    """Not an outage, for which a delivery would be tried again and again."""
    with pytest.raises(HandlerError, match="is not part of the package") as raised:
        warm.run(f"{SDKS}\ndef use():\n    {code}\nanswer = sdk.call(use)")
    assert raised.value.kinds[0] == "NotInPackage"
    assert str(raised.value).startswith(f"NotInPackage: {used} is not part of the package")


def test_the_use_of_a_stand_in_is_found_when_an_sdk_wraps_it(instance: FunctionInstance) -> None:
    """tea-openapi catches whatever is raised during a call, and raises an error of its own afterwards."""
    code = """
from darabonba.core import DaraCore
def broken(*_given, **_named):
    import aiohttp
    aiohttp.ClientSession()
DaraCore.do_action = broken
answer = sdk.call(lambda: client.describe_security_groups(DescribeSecurityGroupsRequest()))
"""
    with pytest.raises(HandlerError, match=r"aiohttp\.ClientSession") as raised:
        instance.run(SDKS + code)
    assert raised.value.kinds[0] == "NotInPackage"


@pytest.mark.parametrize("name", CLIENTS)
def test_what_is_kept_of_a_client_is_the_code_of_the_sdk(cut_package: Path, warm: FunctionInstance, name: str) -> None:
    """On the same lines, with every name that it uses; a method that is gone is an AttributeError."""
    module, (client, _) = name.removesuffix(".py").replace("/", "."), CLIENTS[name]
    paths = (cut_package / name, Path(str(find_spec(module).origin)))  # type: ignore[union-attr]
    cut_lines, sdk = (path.read_text(encoding="utf-8").splitlines() for path in paths)
    methods = _methods(paths[0], client)
    for node in methods:
        place = slice(node.lineno - 1, node.end_lineno)
        assert cut_lines[place] == sdk[place], node.name
    assert 0 < len(methods) < sum(bool(re.match(r" {4}(async )?def ", line)) for line in sdk)
    assert warm.run(f"name, client = {module!r}, {client!r}\n{MISSING}") == []


def test_the_operations_that_are_kept_are_those_that_ram_allows(cut_package: Path) -> None:
    roles = "".join(
        file.read_text(encoding="utf-8") for file in (build.ROOT / "deploy").glob("ram-function-role*.json")
    )
    allowed = set(re.findall(r'"ecs:(\w+)"', re.sub("ecs:SecurityGroupSourceCidrIps", "", roles)))
    method_names = {node.name for node in _methods(cut_package / "alibabacloud_ecs20140526" / "client.py", "Client")}
    method_stems = {re.sub("(?<!^)(?=[A-Z])", "_", action).lower() for action in allowed}
    assert {
        name.removesuffix("_with_options") for name in method_names if name.endswith("_with_options")
    } == method_stems


def _methods(file: Path, client: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The methods of a class."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == client]
    return [node for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def test_a_stand_in_can_be_named_where_python_allows_a_class(instance: FunctionInstance) -> None:
    """In `except`, as a base class and in annotations; a name that Python itself looks for is missing."""
    code = """
import typing, aiohttp, cryptography.hazmat.primitives as deep
class Session(aiohttp.ClientSession): pass
def call(session: typing.Optional[aiohttp.ClientSession]) -> "int | None": ...
try:
    raise OSError("real")
except aiohttp.ClientError:
    answer = "matched"
except OSError as error:
    answer = [str(error), isinstance(error, aiohttp.ClientError), hasattr(aiohttp, "__version__"), deep.__name__]
"""
    assert instance.run(SDKS + code) == ["real", False, False, "cryptography.hazmat.primitives"]
    with pytest.raises(HandlerError, match=r"aiohttp\.ClientSession is not part"):
        instance.run("import aiohttp\nclass Session(aiohttp.ClientSession): pass\nanswer = Session()")


def test_asyncio_is_loaded_by_its_use(instance: FunctionInstance) -> None:
    """The SDKs import it and our calls do not use it; for code that does, it is as always."""
    assert instance.run(f"{SDKS}\nanswer = 'asyncio' in sys.modules and 'asyncio.events' not in sys.modules")
    code = "import asyncio\nasync def three(): return 3\nanswer = [asyncio.run(three()), type(asyncio).__name__]"
    assert instance.run(code) == [3, "module"]


def test_nothing_that_is_left_out_is_in_the_package(package: Path) -> None:
    for name in LEFT_OUT:
        where = package / name.replace(".", "/")
        assert not where.exists(), name
        assert not where.with_suffix(".py").exists(), name


def test_the_bill_of_materials_lists_what_the_package_holds(built: Path, bill: dict[str, Any]) -> None:
    """Each distribution that the folder has metadata of, with the hash of an archive that requirements.txt names; valid
    CycloneDX, with nothing that another build of the same package would change."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    distributions = {
        path.name.removesuffix(".dist-info").lower().replace("_", "-") for path in built.glob("*.dist-info")
    }
    assert [f"{part['name']}-{part['version']}" for part in bill["components"]] == sorted(distributions)
    digests = {pin.name: pin.digests for pin in pinned()}
    assert all(part["hashes"][0]["content"] in digests.pop(part["name"]) for part in bill["components"])
    assert digests == {}
    assert bill.keys() == {"$schema", "bomFormat", "specVersion", "version", "metadata", "components", "dependencies"}
    assert bill["metadata"].keys() == {"component"}
