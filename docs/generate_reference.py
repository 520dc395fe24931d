"""Writes from the code the example of requests.md and the table of tags in tags.md; the index of the audit log in
deploy/sls-index.json; the schemas of a policy file, of a request, of what commands print and of a saved plan; and what
the RAM documents and the ROS template deny of tags.

Run it after a change of one of them: python docs/generate_reference.py. A test fails while a page differs. The pages of
commands, with their options and what they print for programs, and the tables and sections that a page marks are on the
site alone: pages.py asks for them (`command_pages`, `built`).
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from link_peer.domain.reasons import REASONS, Kind, Reason
from link_peer.domain.record_fields import (
    ACCOUNT,
    DECISION,
    LIST,
    OBSERVED,
    TEXT,
    TIMER,
    WHOLE,
    RecordField,
)
from link_peer.domain.tags import DEFAULT_TAG_PREFIX, LOCK_TAG, REFUSE_TAG, TAGS, tag_keys
from link_peer.inbound.policy_types import PolicyFile
from link_peer.inbound.requests import RequestMessage
from link_peer.runtime.settings import SERVICES
from link_peer_cli import api
from link_peer_cli.answers import CommandFailed
from link_peer_cli.answers.table import ANSWERS
from link_peer_cli.main import TABLE, all_commands
from link_peer_cli.review.saved import SavedPlan
from link_peer_cli.ui import remedies
from link_peer_deploy.description import Role, describe, describe_peer
from link_peer_deploy.documents import tag_denials
from link_peer_deploy.names import Names
from request_schema import FIELDS, request_schema

DOCS = Path(__file__).parent
ROOT = DOCS.parent
REQUESTS = DOCS / "requests.md"
TAGS_PAGE = DOCS / "tags.md"
AUDIT_PAGE = DOCS / "audit.md"
COMMANDS = {
    "see.md": ("Look", [row.name for row in TABLE["See"]]),
    "ask.md": ("Ask, consent and close", [row.name for row in (*TABLE["Ask and consent"], *TABLE["Close"])]),
    "review.md": ("Review", [row.name for row in TABLE["Review"]]),
    "deploy.md": ("Deploy", ["init", "setup", "package", "account add", "account list", "account remove"]),
    "operate.md": ("Operate", ["demo", "local", "failed"]),
}
"""The pages of commands: file, title, and the commands on it."""

COMMON = {"--json", "--output", "--sort-by", "-o", "csv"}
"""The options of which reference.md says once what they do."""

SETTINGS = {
    "LINK_PEER_REGION": "the region of the functions and the instances; commands also take it from the profile of the `aliyun` CLI",
    "LINK_PEER_NEW_REGION": "a region that is newer than the list of this version, by which commands tell a misspelt one; set it beside LINK_PEER_REGION",
    "LINK_PEER_PREFIX": "what every name in the cloud begins with, `link-peer` by default",
    "LINK_PEER_TAG_PREFIX": "the first part of every tag key, `link` by default: 1 to 16 of a-z and 0-9, beginning with a letter",
    "LINK_PEER_POLICY": "the policy file; by default `policy.yaml` of the project or the package",
    "LINK_PEER_QUEUE": "the shared queue, if its name is not `<prefix>-requests`. The dead-letter queue, whose messages the sweep counts, has `-dead-letters` in place of `-requests`",
    "LINK_PEER_AUDIT_PROJECT": "the log project, if its name is not `<prefix>-<home uid>-<region>`",
    "LINK_PEER_AUDIT_LOGSTORE": "the logstore of the audit log, if its name is not `decisions`",
    "LINK_PEER_SWEEP_QUEUE": "the queue for sweeps of single accounts, to which only the functions may send; if it is not set, "
    "each sweep is one delivery for all accounts",
    "LINK_PEER_OPERATOR_LOGSTORE": "the logstore of the records of people's commands, if its name is not that of the audit log with `-operators` after it",
    "LINK_PEER_CALLS_PER_MINUTE": "the rate limit of ECS in your accounts, [per API and minute](operations.md#the-sweep-and-rate-limits); not known by default",
    "LINK_PEER_MNS_ENDPOINT": "the endpoint of the queues, for the functions and for commands; the public one by default ([deploy.md](deploy.md#settings))",
    "LINK_PEER_QUOTA_POLICIES": "how many custom policies RAM attaches to a role, if the quota was raised: a document has 5, another 10; `check`, `setup` and `package` use it",
    "LINK_PEER_QUOTA_QUEUES": "how many queues SMQ allows in the region, if the quota was raised from 1,000",
    "LINK_PEER_RUNTIME": "the functions' runtime: `python3.12` by default, or `python3.10`",
    "LINK_PEER_PAGER": "the pager of commands, instead of `PAGER`; empty for none",
    "LINK_PEER_CLOUD": "the address of a local cloud, for all services at once",
}
"""Each setting that the functions, the commands or the deployment read, but the endpoints of single services."""

RECORD_FIELDS = {"decision": DECISION, "observed": OBSERVED, "timer": TIMER, "account": ACCOUNT}
"""The fields of each kind of audit records, by the marks of their tables in audit.md."""

SLS_TOKENS: dict[str, list[str]] = {WHOLE: [], LIST: [","], TEXT: list(", '\";=()[]{}?@&<>/:\n\t\r")}
"""Where SLS divides the value of a field that is indexed as text."""

INTRODUCTION = """\
*Reference.*

What these commands take, and what they print for programs. What all commands have in common: [reference.md](../reference.md).
"""

TEST_VARIABLES = {
    "LINK_PEER_PACKAGE",
    "LINK_PEER_SITE",
    "LINK_PEER_TERRAFORM",
    "LINK_PEER_TEST_DEPLOY",
    "LINK_PEER_TEST_WHOLE",
}
"""What only the project's own tests and scripts read."""


def settings_read() -> set[str]:
    """The names of settings in the sources of the functions, the commands and the deployment."""
    files = [
        path for folder in ("shared", "cli", "functions", "deploy") for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    text = "".join(path.read_text("utf-8") for path in [*files, ROOT / "s.yaml"])
    return set(re.findall(r"\bLINK_PEER_[A-Z]+(?:_[A-Z]+)*\b(?!_)", text)) - TEST_VARIABLES


def reasons() -> str:
    """The table of reasons: what each means, and what a person does about it."""
    rows = [(f"`{row.code}`", row.meaning, row.remedy, _standing(row)) for row in REASONS.values()]
    return "\n".join(_table(("reason", "meaning", "what to do", "what stands"), rows))


def _standing(row: Reason) -> str:
    """What becomes of the rules that stand for a wish which is denied for this reason."""
    if row.keeps_standing or row.kind is Kind.UNDECIDED:
        return "stays"
    return "goes, unless the guard holds it" if row.kind is Kind.NOT_SHOWN else "goes, rule by rule"


def request_fields() -> list[str]:
    """The table of a request's fields. Those with one meaning share a row."""
    rows: dict[str, list[str]] = {}
    for name, field in FIELDS[RequestMessage].items():
        rows.setdefault(field.meaning, []).append(f"`{name}`")
    return list(_table(("field", "meaning"), [(", ".join(names), meaning) for meaning, names in rows.items()]))


def example(page: Path) -> str:
    """A page with the request of the fields' examples as its first block of JSON."""
    fields = FIELDS[RequestMessage].items()
    members = [f'  "{name}": {json.dumps(field.example)}' for name, field in fields if field.example is not None]
    block = "\n".join(["```json", "{", ",\n".join(members), "}", "```"])
    return re.sub(r"```json\n.*?```", lambda _: block, page.read_text("utf-8"), count=1, flags=re.DOTALL)


def request_file() -> str:
    """The JSON Schema of a message. Its descriptions have no links: they lead from the pages only."""
    schema = request_schema()
    _described(schema["$defs"])
    for kind in schema["$defs"].values():
        for field in kind["properties"].values():
            field["description"] = re.sub(r"\[(.+?)\]\(.+?\)", r"\1", field["description"])
    return _schema("A message on the queue of link-peer", schema)


def api_page(page: Path) -> str:
    """A page on the Python API, with the parameters by which it makes a request."""
    parameters = list(inspect.signature(api.request).parameters.values())
    keyword_names = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    names = [*(parameter.name for parameter in parameters if parameter.name not in keyword_names), "*", *keyword_names]
    return re.sub(r"(?<=^\| `request\().*?(?=\)`)", ", ".join(names), page.read_text("utf-8"), flags=re.MULTILINE)


def schema_of(title: str, kind: type) -> str:
    """The JSON Schema of a file, as its type has it."""
    derived = msgspec.json.schema(kind)
    _described(derived["$defs"])
    return _schema(title, derived)


def _described(defs: dict[str, Any]) -> None:
    """Describe each type by its first sentence alone."""
    for definition in defs.values():
        del definition["title"]
        definition["description"] = _sentence(definition["description"])


def _schema(title: str, derived: dict[str, Any]) -> str:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps({**head, **derived}, indent=2) + "\n"


def answers() -> dict[str, Any]:
    """The JSON Schema of what commands print with `--json`: of each command, by its name, and of the types."""
    kinds = [*dict.fromkeys(kind for printed in ANSWERS.values() for kind in printed.types), CommandFailed]
    schemas, defs = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    _described(defs)
    schema_by_kind = dict(zip(kinds, schemas, strict=True))
    commands: dict[str, Any] = {}
    for name, printed in ANSWERS.items():
        usual, *other_schemas = (schema_by_kind[kind] for kind in printed.types)
        commands[name.replace(" ", "-")] = {"anyOf": [usual, *other_schemas]} if other_schemas else usual
    return {
        "description": "Of `link-peer account add --json`: #/$defs/account-add. Of an error on stderr: #/$defs/CommandFailed.",
        "$defs": {**commands, **defs},
    }


def command_pages() -> dict[Path, str]:
    """Each page of commands, by its path."""
    return {
        DOCS / "commands" / file: "\n".join([f"# Commands: {title}\n", INTRODUCTION, *_commands(names)]).rstrip() + "\n"
        for file, (title, names) in COMMANDS.items()
    }


def _answer(command: str, defs: dict[str, Any], homes: dict[str, str]) -> Iterator[str]:
    """What a command prints with `--json`."""
    printed = ANSWERS[command]
    how = " ".join(["`--json`:", "one object per line." if printed.lines else "one document.", printed.note]).strip()
    for kind in printed.types:
        definition, home = defs.get(kind.__name__), homes.get(kind.__name__, command)
        text = f"{how} {definition['description'] if definition else ''}".strip()
        if definition and home == command:
            yield f"{text}\n"
            yield from _table(("field", "type", "meaning"), list(_answer_rows(definition, defs, homes)))
        elif text:
            yield f"{text.rstrip('.')}: as for {_of_command(home)}.\n" if definition else f"{text}\n"
        how = ""


def _answer_rows(
    schema: dict[str, Any], defs: dict[str, Any], homes: dict[str, str], at: str = ""
) -> Iterator[tuple[str, ...]]:
    """A row for each field, and below it those of the objects in it."""
    for name, field in schema["properties"].items():
        kinds = [_kind(kind, homes) for kind in field.get("anyOf", [field])]
        optional = [] if name in schema["required"] else ["left out"]
        words = " or ".join(f"`{word}`" for word in field.get("enum", ()))
        yield f"`{at}{name}`", " or ".join([*kinds, *optional]), _cell(field.get("description", words))
        inner = field.get("items", field).get("$ref", "").rpartition("/")[2]
        if inner and inner not in homes:
            yield from _answer_rows(defs[inner], defs, homes, f"{at}{name}{'[]' if 'items' in field else ''}.")


def _kind(kind: dict[str, Any], homes: dict[str, str]) -> str:
    """The type of a field, in words."""
    if home := homes.get(kind.get("$ref", "").rpartition("/")[2]):
        return _of_command(home)
    if "items" in kind:
        return f"list of {_kind(kind['items'], homes)}".replace("of object", "of objects")
    words = {"string": "text", "integer": "number", "boolean": "true or false"}
    return words.get(kind.get("type", "object" if "$ref" in kind else "string"), kind.get("type", "object"))


def _of_command(name: str) -> str:
    file = next(file for file, (_, names) in COMMANDS.items() if name in names)
    return f"[{name}]({file}#link-peer-{name.replace(' ', '-')})"


def tags_page() -> str:
    """The page on tags, with its table as domain/tags.py has it."""
    header = ("tag", "on", "value", "meaning")
    rows = []
    for tag in TAGS:
        key = tag.key.format(prefix=DEFAULT_TAG_PREFIX, deployment="<deployment>", home="<home uid>")
        names = f"`{key}`{tag.further.format(key=key)}"
        rows.append((names, tag.on, tag.value, tag.meaning))
    table = "\n".join(_table(header, rows))
    return re.sub(
        r"\| tag \| on \|.*?\n\n", lambda _: table + "\n", TAGS_PAGE.read_text("utf-8"), count=1, flags=re.DOTALL
    )


def questions() -> str:
    """The questions that the dashboard answers, as sections."""
    charts = describe(Names("1000000000000001"), "prod", DEFAULT_TAG_PREFIX).charts
    return "\n".join(
        f"## {chart['question']}\n\n{chart['says']}\n\n```\n{chart['query']}\n```\n"
        for chart in charts
        if "question" in chart
    )


def remedies_table() -> str:
    """What a refusal means, and the command that mends it. The first row that fits counts."""
    return "\n".join(_table(("service", "code", "means here", "command"), list(remedies.rows())))


def roles() -> str:
    """The tables of the roles of the pages' accounts. Placeholders stand for whom their owners name."""
    names, peer = Names("1000000000000001"), "1000000000000002"
    people = [f"acs:ram::{names.home}:{principal}" for principal in ("user/alice", "role/sso-admins")]
    described = describe(names, "prod", DEFAULT_TAG_PREFIX, [f"acs:ram::{peer}:role/link-peer"], operators=people).roles
    its = {"account": peer, "role": "link-peer", "external_id": "the-external-id"}
    placed_roles = [("home", role) for role in described]
    placed_roles += [("other", role) for role in describe_peer(names, "prod", DEFAULT_TAG_PREFIX, **its)]
    roles_by_label = [(f"`{role.name}`, {where}", role) for where, role in placed_roles]
    trusted = [
        (role, _listed(arn for arns in statement["Principal"].values() for arn in arns), _condition(statement))
        for role, of in roles_by_label
        for statement in of.trust["Statement"]
    ]
    return "\n".join(
        [
            *_table(("role", "who may assume it", "if"), trusted),
            *_table(
                ("role", "", "actions", "on", "if"),
                [(role, *row) for role, of in roles_by_label for row in _rights(of)],
            ),
            "",
        ]
    )


def _rights(role: Role) -> Iterator[tuple[str, ...]]:
    """Effect, actions, resources and condition; statements that differ in the condition alone are one row."""
    rows: dict[tuple[str, ...], dict[str, None]] = {}
    for statement in [
        s for documents in role.policies.values() for document in documents for s in document["Statement"]
    ]:
        effect = "may" if statement["Effect"] == "Allow" else "may **not**"
        row = (effect, _listed(statement["Action"]), _listed(statement["Resource"]))
        rows.setdefault(row, {})[_condition(statement)] = None
    for row, conditions in rows.items():
        yield *row, " or ".join(conditions)


def _condition(statement: Mapping[str, Any]) -> str:
    conditions = statement.get("Condition", {}).values()
    clauses = [
        f"`{key}`" + ("" if values == ["*"] else f" is {_listed([values] if isinstance(values, str) else values)}")
        for keys in conditions
        for key, values in keys.items()
    ]
    return " and ".join(clauses)


def _listed(words: Iterable[str]) -> str:
    return " ".join(f"`{word}`" for word in words)


def _commands(names: Sequence[str]) -> Iterator[str]:
    """The sections of these commands."""
    commands, defs, homes = dict(all_commands()), answers()["$defs"], {}
    for name, printed in ANSWERS.items():
        homes.setdefault(printed.types[0].__name__, name)
    for name in names:
        command = commands[name]
        yield f"## link-peer {name}\n"
        yield f"{_sentence(command.help)} For example: {', '.join(f'`{line}`' for line in command.epilog.splitlines()[1:])}\n"
        params = [param for param in command.params if not getattr(param, "hidden", False) and param.name != "help"]
        yield from _table(
            ("argument or option", "default", ""), [_option(param) for param in params if not COMMON & set(param.opts)]
        )
        if name in ANSWERS:
            yield from _answer(name, defs, homes)


def _option(option: Any) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    if option.param_type_name == "argument":
        names = f"`{(option.metavar or option.name.upper()).strip('[].').replace('|', '` or `')}`"
    default = option.default
    default_text = f"`{default}`" if default and isinstance(default, str | int) and default is not True else ""
    return names, "required" if option.required else default_text, _cell(option.help or "")


def settings() -> str:
    """The table of the environment variables."""
    endpoints = ", ".join(f"`LINK_PEER_{service.upper()}_ENDPOINT`" for service in SERVICES)
    rows = [(f"`{name}`", meaning) for name, meaning in SETTINGS.items()]
    rows.append((endpoints, "the endpoint of one service, instead of its default"))
    return "\n".join(_table(("variable", "meaning"), rows))


def audit_page() -> str:
    """audit.md with the fields that are new."""
    return _with_newest(AUDIT_PAGE.read_text("utf-8"))


def _with_newest(text: str) -> str:
    """A page with the fields that the newest schema of records added, between its marks."""
    fields = [field for fields in RECORD_FIELDS.values() for field in fields]
    newest = max(field.since for field in fields)
    names = dict.fromkeys(f"`{field.name}`" for field in fields if field.since == newest)
    marked = f"<!-- schema {newest} -->{', '.join(names)}<!-- /schema -->"
    return re.sub(r"<!-- schema \d+ -->.*?<!-- /schema -->", lambda _: marked, text)


def chinese_audit_page() -> str:
    """The Chinese page with the names of fields. What they mean is translated by hand, and so is a new row."""
    tables = iter(["\n".join(table).rstrip() for table in (*map(_meanings, RECORD_FIELDS.values()), ocsf())])

    def with_names(table: re.Match[str]) -> str:
        head, rule, *rows = table[0].splitlines()
        names = [row.split(" | ")[0] for row in next(tables).splitlines()[2:]]
        if len(rows) == len(names):
            rows = [" | ".join([name, *row.split(" | ")[1:]]) for name, row in zip(names, rows, strict=True)]
        return "\n".join([head, rule, *rows])

    text = _with_newest((DOCS / "zh" / "audit.md").read_text("utf-8"))
    return re.sub(r"^\| 字段 \|.*?(?=\n\n|\n<)", with_names, text, flags=re.DOTALL | re.MULTILINE)


def _meanings(fields: Sequence[RecordField]) -> list[str]:
    """The table of one kind of records. A field without a meaning is in the row before it."""
    rows: list[tuple[list[str], str]] = []
    for field in fields:
        if field.meaning:
            rows.append(([], field.meaning))
        rows[-1][0].append(f"`{field.name}`")
    return list(_table(("field", "meaning"), [(", ".join(names), meaning) for names, meaning in rows]))


def ocsf() -> list[str]:
    """The table of the fields that a SIEM gets as attributes of OCSF: fields with one note, and those that have no
    attribute, share a row."""
    rows: dict[str, list[RecordField]] = {}
    for field in (*DECISION, *(field for field in OBSERVED if field.name != "action")):
        rows.setdefault(field.ocsf_note or field.ocsf, []).append(field)
    unmapped = rows.pop("unmapped")
    return list(
        _table(
            ("field", "attribute", "type and note"),
            [
                (
                    ", ".join(f"`{field.name}`" for field in fields),
                    ", ".join(dict.fromkeys(f"`{name}`" for field in fields for name in field.ocsf.split())),
                    fields[0].ocsf_note,
                )
                for fields in (*rows.values(), unmapped)
            ],
        )
    )


def sls_index() -> str:
    """The index of the audit log, a line a field."""
    kinds = {field.name: field.index for fields in RECORD_FIELDS.values() for field in fields if field.index}
    keys = ",\n".join(f"    {json.dumps(name)}: {json.dumps(_sls_key(kind))}" for name, kind in kinds.items())
    line = json.dumps({"token": SLS_TOKENS[TEXT], "caseSensitive": False})
    return f'{{\n  "line": {line},\n  "keys": {{\n{keys}\n  }},\n  "max_text_len": 8192\n}}\n'


def _sls_key(kind: str) -> dict[str, Any]:
    if (tokens := SLS_TOKENS.get(kind)) is None:
        return {"type": kind, "doc_value": True}
    return {"type": "text", "token": tokens, "caseSensitive": False, "doc_value": True}


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(header)} |"
        yield "|---" * len(header) + "|"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""


def _sentence(text: str | None) -> str:
    return re.sub(r"\s*\n(?!\n)\s*", " ", (text or "").split("\n\n")[0].strip()) if text else ""


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def denied_tags() -> dict[Path, str]:
    """The RAM documents and the ROS template, with the denials of the tags that only people write. Who closes locks,
    too."""
    keys = tag_keys("${LINK_PEER_TAG_PREFIX}", "", "")
    denied, closing = [*keys.of_people, LOCK_TAG, REFUSE_TAG], keys.consenting
    texts = {}
    for name, of in {"function-role": denied, "peer-role": denied, "operator": closing, "peer-closer": closing}.items():
        path = ROOT / "deploy" / f"ram-{name}.json"
        lines = ",\n".join(f"    {json.dumps(denial)}" for denial in tag_denials(of))
        pattern = r'    \{"Effect": "Deny", .*"acs:RequestTag/.*\}(,\n    \{"Effect": "Deny", .*"acs:RequestTag/.*\})*'
        texts[path] = re.sub(pattern, lambda _, lines=lines: lines, path.read_text("utf-8"))  # type: ignore[misc]
    path = ROOT / "deploy" / "peer-account.yaml"
    texts[path] = _template_denials(path.read_text("utf-8"), [denied, closing])
    return texts


def _template_denials(text: str, roles: Sequence[Sequence[str]]) -> str:
    """The ROS template with the default of the keys that only people write, and the statements of the roles that write,
    in their order."""
    keys = tag_keys(DEFAULT_TAG_PREFIX, "", "").of_people
    names = [key.removeprefix(f"{DEFAULT_TAG_PREFIX}-") for key in keys]
    lines = [
        "  PeopleTags:\n    Type: Json",
        "    Description: the tags by which a group consents, locks or refuses, each as a condition, if LINK_PEER_TAG_PREFIX is "
        f"not {DEFAULT_TAG_PREFIX}\n    Default:",
    ]
    lines += [f'      {name}: {{"acs:RequestTag/{key}": ["*"]}}' for name, key in zip(names, keys, strict=True)]
    values = [f'{{"Fn::Select": [{name}, {{Ref: PeopleTags}}]}}' for name in names]
    common = {key: f'{{"acs:RequestTag/{key}": ["*"]}}' for key in (LOCK_TAG, REFUSE_TAG)}
    by_key = dict(zip(roles[0], values, strict=False)) | common
    text = re.sub(r"  PeopleTags:\n.*?(?=  SetDenials:)", lambda _: "\n".join([*lines, ""]), text, flags=re.DOTALL)
    deny = (
        '- {Effect: Deny, Action: ["ecs:TagResources", "ecs:UntagResources"], Resource: ["*"], Condition: {StringLike: '
    )
    denials = iter("".join(f"{' ' * 18}{deny}{by_key[key]}}}}}\n" for key in role) for role in roles)
    return re.sub(rf"( {{18}}{re.escape(deny)}.*\n)+", lambda _: next(denials), text)


def built() -> dict[str, str]:
    """What the site has between a page's marks, by their name; with `commands`, which lead to the pages of commands."""
    titles = {f"commands/{file}": title for file, (title, _) in COMMANDS.items()}
    links = ", ".join(f"[{title}]({path})" for path, title in titles.items())
    return {
        "commands": f"By what they are for: {links}.\n",
        "settings": settings(),
        "roles": roles(),
        "remedies": remedies_table(),
        "questions": questions(),
        "ocsf": "\n".join(ocsf()),
        "fields": "\n".join(request_fields()),
        "reasons": reasons(),
        **{mark: "\n".join(_meanings(fields)) for mark, fields in RECORD_FIELDS.items()},
    }


def generated() -> dict[Path, str]:
    """Each file that is written from the code, whole or in part, with its text."""
    return {
        **{page: example(page) for page in (REQUESTS, DOCS / "zh" / "requests.md")},
        **{page: api_page(page) for page in (DOCS / "api.md", DOCS / "zh" / "api.md")},
        DOCS / "schemas" / "request.schema.json": request_file(),
        DOCS / "schemas" / "policy.schema.json": schema_of("policy.yaml of link-peer", PolicyFile),
        DOCS / "schemas" / "plan.schema.json": schema_of("A saved plan of link-peer", SavedPlan),
        DOCS / "schemas" / "answers.schema.json": _schema("What commands of link-peer print with --json", answers()),
        TAGS_PAGE: tags_page(),
        AUDIT_PAGE: audit_page(),
        DOCS / "zh" / "audit.md": chinese_audit_page(),
        ROOT / "deploy" / "sls-index.json": sls_index(),
        **denied_tags(),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
