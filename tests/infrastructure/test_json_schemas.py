"""docs/schemas/ says of a policy, a request, a saved plan and a world what their parsers say, as far as a schema
can."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from string import Template
from typing import Any

import msgspec
import pytest
import yaml
from aliyun_local.api import Knobs, LocalCloud
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from link_peer.domain.errors import PolicyError
from link_peer.domain.model import Party
from link_peer.inbound import policy_file, requests
from link_peer_cli.demo import world
from link_peer_cli.review import saved
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.sample import part

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {p.name: json.loads(p.read_text("utf-8")) for p in (ROOT / "docs/schemas").glob("*.json")}
REGISTRY: Registry[Any] = Registry().with_resources(
    [(name, DRAFT202012.create_resource(schema)) for name, schema in SCHEMAS.items()]
)
NOW = datetime(2026, 11, 25, 7, 0, tzinfo=timezone.utc).timestamp()
WORLDS = sorted(world.WORLDS.glob("*.yaml"))

POLICY: dict[str, Any] = {
    "deployment": "prod",
    "tag_prefix": "link",
    "accounts": {
        "1000000000000001": {"name": "a"},
        "1000000000000002": {
            "name": "b",
            "role": "acs:ram::1000000000000002:role/link-peer",
            "external_id": "example-1",
            "ranges": ["10.20.0.0/16"],
            "queue": "link-peer-requests-b",
            "flowlog": "own-logs/flows",
        },
    },
    "accept_tags": True,
    "allow": [
        {"from": "sg-app@1000000000000001", "to": "sg-db@1000000000000002", "ports": ["tcp/3306", "tcp/8000-8010"]},
        {"from": "*@1000000000000001", "to": "i-m@1000000000000002", "until": "2027-01-01T00:00:00Z"},
    ],
    "deny": {"ports": ["tcp/22"]},
    "never": [{"from": "set:dev", "to": "*@1000000000000001", "ports": ["tcp/22"]}],
    "sets": {"dev": {"account": "1000000000000002", "tags": {"env": "dev"}}},
    "names": {"ledger": "sg-db@1000000000000002"},
    "limits": {
        "removals_per_run": 0,
        "max_ports": 1,
        "max_port_span": 1,
        "max_peers": 1,
        "max_members": 1,
        "max_days": None,
        "max_days_tags": 1,
    },
    "paused": "opening",
    "tests": [{"from": "i-app@1000000000000001", "accept": ["sg-db@1000000000000002:tcp/1+icmp"], "deny": []}],
}
REQUEST: dict[str, Any] = {
    **json.loads(re.findall(r"```json\n(.*?)```", (ROOT / "docs/requests.md").read_text("utf-8"), re.DOTALL)[0]),
    "attempt": 3,
}
"""A request with every field."""
PLAN: dict[str, Any] = {
    "link_peer_plan": 1,
    "made_at": "2026-11-25T07:00:00Z",
    "deployment": {
        "name": "prod",
        "home": "1000000000000001",
        "prefix": "link-peer",
        "region": "cn-qingdao",
        "policy": "0f4701091c58a844",
    },
    "input": {
        "looks": [{"event_id": "e-1", "party": "i-app", "kind": "state", "time": 1.5, "state": "Running"}],
        "requests": [REQUEST],
        "sweep": {"believe_empty": ["1000000000000002"]},
    },
    "changes": [
        {
            "action": "modify",
            "account": "1000000000000001",
            "group": "sg-db",
            "rule": "sgr-1",
            "place": {"source": "10.0.0.1/32", "dest": "10.0.0.2/32", "protocol": "tcp", "ports": "1/2"},
            "before": "link-peer/2 by=tag",
            "description": "link-peer/2 by=tag,req:chg-1",
            "tags": ["link-managed.prod.1000000000000001"],
        }
    ],
}
NAMES = {"ledger": Party("1000000000000002", "sg-ledger")}
PLAIN = {name: REQUEST[name] for name in SCHEMAS["request.schema.json"]["$defs"]["RequestMessage"]["required"]}
REQUESTS = (
    REQUEST,
    {**PLAIN, "action": "sync", "to": {"party": "ledger"}},
    {**PLAIN, "action": "unlink", "ports": ["udp/53"]},
    {
        **{name: value for name, value in PLAIN.items() if name not in {"from", "to"}},
        "request_id": "look-1",
        "action": "look",
        "party": {"account": "1000000000000001", "party": "i-app"},
    },
)
WRONG: tuple[Any, ...] = (
    None,
    "",
    "?",
    7,
    100_001,
    -1,
    1.5,
    True,
    [],
    {},
    ["?"],
    {"?": "?"},
    "tcp/3306",
    "sg-x@100000000000009",
)
BEYOND_A_SCHEMA = re.compile(
    "no role|is not listed|is not one of the policy's (sets|names)|is already the queue|host bits|is not acs:ram::|more than 24 hours"
    "|is not a name in the policy|must be 1 to 128 printable"
)
"""What relates two values, or calculates: a schema cannot say it."""


@functools.cache
def validator(name: str) -> Draft202012Validator:
    schema = SCHEMAS[f"{name}.schema.json"]
    return Draft202012Validator(schema, registry=REGISTRY)


def paths(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document, the document itself left out."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        yield (*at, key)
        yield from paths(value, (*at, key))


def paths_and_values(document: Any) -> Iterator[Any]:
    """Every key and every value in a document."""
    for path in paths(document):
        yield path[-1]
        yield functools.reduce(lambda node, key: node[key], path, document)


READERS: dict[str, tuple[Callable[[str], object], type[Exception]]] = {
    "policy": (policy_file.parse, PolicyError),  # JSON is YAML, and quicker to write
    "request": (lambda text: requests.decode(text, region="cn-qingdao", now=NOW, names=NAMES), requests.BadRequest),
    "plan": (lambda text: saved.decode(text.encode()), ValueError),
}
"""What reads a document of each schema, and how it refuses one."""


def problem(schema: str, document: Any) -> str:
    """Why the reader refuses a document; empty if it does not, or only because of the age or the region of a
    request."""
    read, refusal = READERS[schema]
    try:
        read(json.dumps(document))
    except refusal as error:
        return str(error)
    except requests.DeniedRequest:
        pass
    return ""


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


INSTANTS = st.from_regex(
    r"(0000|0001|2026|9999)-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.0?)?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?",
    fullmatch=True,
)
PORTS = st.from_regex(r"icmp|(tcp|udp|gre)/[0-9]{0,6}(-[0-9]{1,6})?", fullmatch=True)
IDS = st.from_regex(r"(tag-|look-|chg-|sg-|i-)?[A-Za-z0-9._-]{0,49}", fullmatch=True)


def beyond(message: str) -> bool:
    """Whether a schema cannot say why the decoder refuses a message."""
    if port := re.search(r'"(?:tcp|udp)/(\d+)-(\d+)" is not a port', message):
        return int(port[1]) > int(port[2])
    if "is not an RFC 3339 instant" in message:
        return "-02-29T" in message.upper() or '"0001-01-01' in message or '"9999-12-31' in message
    return bool(BEYOND_A_SCHEMA.search(message))


FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "policy": (POLICY, "policy"),
    "plan": (PLAN, "plan"),
    **{document["action"]: (document, "request") for document in REQUESTS},
}
VALUES = (
    st.sampled_from([*WRONG, False, *requests.ACTIONS, *paths_and_values(POLICY), *paths_and_values([*REQUESTS, PLAN])])
    | st.text("sgi-@:*/tcp01+.~TZ", max_size=30)
    | st.sampled_from([1, 20, 128, 256, 257]).map("r".__mul__)
    | st.lists(PORTS, max_size=2)
    | IDS
)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FORMS)
def test_what_the_schema_refuses_the_reader_refuses(name: str) -> None:
    """And the schema accepts all that the reader does: the fullest document of its kind, and any values, also those of
    other keys, in any places of it."""
    document, schema = FORMS[name]
    check, values = validator(schema), VALUES | INSTANTS if schema == "request" else VALUES
    places = [*paths(document), *((key,) for key in ("until", "reason", "party", "priority"))]
    assert (problem(schema, document), check.is_valid(document)) == ("", True)

    @settings(max_examples=part(200, 2), derandomize=True, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(places), values), min_size=1, max_size=4))
    def agree(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        mutant = copy.deepcopy(document)
        for path, value in changes:
            parent = mutant
            with contextlib.suppress(KeyError, IndexError, TypeError):  # an earlier change took the place away
                for key in path[:-1]:
                    parent = parent[key]
                parent[path[-1]] = copy.deepcopy(value)
        message, valid = problem(schema, mutant), check.is_valid(mutant)
        assert valid or message, mutant
        assert not message or not valid or beyond(message), (mutant, message)

    agree()


def test_the_policy_that_init_writes_follows_the_schema() -> None:
    """The policy.yaml of a checkout is its user's: no test reads it."""
    text = (ROOT / "deploy/init/policy.yaml").read_text("utf-8")
    values = {"home": "1" * 16, "name": "home", "deployment": "prod", "prefix": "link-peer", "tag_prefix": "link"}
    validator("policy").validate(yaml.safe_load(Template(text).substitute(values)))


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_each_world_names_its_schema_and_follows_it(path: Path) -> None:
    text = path.read_text("utf-8")
    [relative] = re.findall(r"\A# yaml-language-server: \$schema=(\S+)\n", text)
    assert (path.parent / relative).resolve() == ROOT / "docs/schemas/world.schema.json"
    validator("world").validate(yaml.safe_load(text))


def test_a_world_without_a_required_key_is_refused_by_both(tmp_path: Path) -> None:
    """What the schema requires is exactly what the loader cannot do without."""
    full = yaml.safe_load((world.WORLDS / "shop.yaml").read_text("utf-8"))
    missed = 0
    for path in [p for p in paths(full) if isinstance(p[-1], str) and p[0] not in {"policy"} and "rules" not in p]:
        mutant = copy.deepcopy(full)
        parent = mutant
        for key in path[:-1]:
            parent = parent[key]
        if parent is mutant["accounts"] or path[-1] in {"tags", "groups", "instances", "id"} or "tags" in path:
            continue  # what else names them fails, or not, by what it says
        del parent[path[-1]]
        file = tmp_path / "world.yaml"
        file.write_text(yaml.safe_dump(mutant), "utf-8")
        try:
            world.load(LocalCloud(), file)
            loads = True
        except world.WorldError:
            loads = False
        assert validator("world").is_valid(mutant) == loads, path
        missed += not loads
    assert missed


def test_the_world_schema_knows_every_key_that_the_loader_reads() -> None:
    """A key that only one of them knows is a mistake."""
    sources = [Path(module.__file__ or "").read_text("utf-8") for module in (world, sys.modules["aliyun_local.world"])]
    read = {key for source in sources for key in re.findall(r'(?:text\[|text\.get\()"(\w+)"', source)}
    read -= {"service_linked_roles", "logs"}  # those of a deployment
    assert read == SCHEMAS["world.schema.json"]["properties"].keys()


def test_the_world_schema_knows_every_knob_and_its_readings() -> None:
    """As msgspec derives them from the class."""
    derived = msgspec.json.schema(Knobs)["$defs"]["Knobs"]
    knobs = SCHEMAS["world.schema.json"]["$defs"]["knobs"]
    assert knobs == {name: value for name, value in derived.items() if name not in {"title", "description"}}
    assert knobs["additionalProperties"] is False
