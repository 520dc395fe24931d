"""Every command that changes something ends with the commands that take it back, and they lead back."""

from __future__ import annotations

import itertools
import random
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from aliyun_local.api import Group

from tests.functional.command import Cli, Owners, by_hand
from tests.functional.lab import HOME, PEER, Lab
from tests.sample import sample

pytestmark = [pytest.mark.usefixtures("accesses", "peer_profile"), pytest.mark.knobs(request_tags=True)]

State = dict[str, tuple[object, ...]]
SEEDS = 24


class Estate:
    """Four groups, one of another account, with links by tag and by request, and people who change it."""

    def __init__(self, lab: Lab, cli: Cli, owners: Owners, draw: random.Random) -> None:
        self.lab = lab
        self.cli = cli
        self.owners = owners
        self.draw = draw
        self.groups = [lab.group("*,*@" + PEER) for _ in range(3)] + [lab.group("*,*@" + HOME, account=PEER)]
        app, db, cache, ledger = self.groups
        lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
        self.lab.cross_account(
            lab.request(app, db, "tcp/1", "tcp/2", request_id="chg-1"),
            lab.request(cache, db, request_id="chg-2", until=lab.iso(90 * 86400)),
            lab.request(app, ledger, "tcp/3", request_id="chg-3"),
            lab.request(app, ledger, "tcp/3", request_id="chg-4", until=lab.iso(9 * 86400)),
        )
        self.settle()

    def settle(self) -> None:
        """The functions have done what tags and requests ask for."""
        self.lab.cross_account(*bodies) if (bodies := self.lab.queued()) else None
        self.lab.sweep()
        self.lab.cross_account(*bodies) if (bodies := self.lab.queued()) else None

    def state(self) -> State:
        """By group: the entries of its tags, and each rule with its claims. Under which key an entry is does not
        matter."""
        return {group.id: (self._entries(group), self._rules(group)) for group in self.groups}

    def _entries(self, group: Group) -> list[str]:
        tags = self.lab.tags(group).items()
        return sorted(f"{key.rstrip('.0123456789')} {text}" for key, value in tags for text in value.split(","))

    def _rules(self, group: Group) -> list[tuple[str, ...]]:
        fields = ("Policy", "Priority", "Description")
        rules = ((text, *(str(rule[name]) for name in fields)) for text, rule in self.lab.rules_of(group))
        return sorted(rules)

    def acts(self) -> dict[str, Callable[[], tuple[str, ...]]]:
        """A command by its name, with what it is about drawn anew."""
        draw, groups = self.draw, self.groups

        def pair() -> list[str]:
            return [f"{group.id}@{group.account}" for group in draw.sample(groups, 2)]

        def ends() -> list[str]:
            source, target = pair()
            return ["--from", source, "--to", target]

        def ports() -> list[str]:
            return [
                word
                for port in draw.sample(["tcp/1", "tcp/2", "tcp/3", "tcp/9"], draw.randint(0, 2))
                for word in ("--port", port)
            ]

        def home() -> str:
            return draw.choice(groups[:3]).id

        return {
            "accept": lambda: ("accept", home(), draw.choice(["sg-new:tcp/9", "*:tcp/1", f"sg-x@{PEER}"])),
            "withdraw": lambda: ("withdraw", home(), draw.choice(["*", f"*@{PEER}"]), "--yes"),
            "close": lambda: ("close", *(group.id for group in draw.sample(groups[:3], draw.randint(1, 3))), "--yes"),
            "close --between": lambda: ("close", "--between", *pair(), "--yes"),
            "request link": lambda: ("request", "link", *ends(), *ports(), "--request-id", "chg-new"),
            "request unlink": lambda: ("request", "unlink", *ends(), *ports()),
        }

    def undo(self, commands: list[str]) -> None:
        """Somebody types them, in this order."""
        for command in commands:
            self.owners.paste(command + (" --yes" if re.match(r"link-peer (close|withdraw) ", command) else ""))
            self.settle()


@pytest.fixture
def estate(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Estate:
    return Estate(lab, cli, Owners(lab, cli, monkeypatch), random.Random(request.param))


OUTCOME = ("outcome", "reason", "from", "from_account", "to", "to_account", "ports")
Fact = tuple[str, ...]


def outcomes(answer: dict[str, Any]) -> set[Fact]:
    """What an answer's records say of each link."""
    return {tuple(record[name] for name in OUTCOME) for record in answer.get("decisions", ())}


def facts(action: str, params: Mapping[str, str]) -> Iterator[Fact]:
    """What a call of ECS changes, part by part; of a lock, without when it was set."""
    values = {name: value for name, value in params.items() if name not in ("RegionId", "ClientToken")}
    parts = [name for name in values if name.startswith(("SecurityGroupRuleId.", "Tag.", "TagKey.", "Permissions."))]
    ids = [value for name, value in values.items() if name.startswith("ResourceId.")] or [values["SecurityGroupId"]]
    if action.startswith(("Tag", "Untag")):
        pairs = [
            (value, values.get(name.replace(".Key", ".Value"), "")) for name, value in values.items() if "Key" in name
        ]
        for resource_id, (key, value) in itertools.product(ids, pairs):
            yield action, resource_id, key, "" if key == "link-lock" else value
    elif action.startswith("Revoke"):
        yield from ((action, *ids, values[name]) for name in parts)
    else:
        yield action, *(f"{name}={values[name]}" for name in sorted(values))


def previewed(answer: dict[str, Any]) -> set[Fact]:
    """What the commands of a preview would change."""
    changes = set[Fact]()
    commands = [call["command"] for call in answer.get("commands", ())]
    for command in [*commands, *(text for group in answer.get("groups", ()) for text in group["commands"])]:
        _, _, action, *options = shlex.split(command)
        names = (option.removeprefix("--") for option in options[::2])
        changes |= set(facts(action, dict(zip(names, options[1::2], strict=True))))
    return changes


def changed(lab: Lab, since: int) -> set[Fact]:
    """What calls of ECS have changed since so many calls."""
    calls = [call for call in [*lab.cloud.faults.calls][since:] if call.service == "ecs"]
    writing_calls = [call for call in calls if not call.action.startswith("Describe")]
    return {fact for call in writing_calls for fact in facts(call.action, call.params)}


PREVIEWED = ("accept", "withdraw", "close", "close --between")


@pytest.mark.exhaustive
@pytest.mark.parametrize("estate", sample(range(SEEDS), 6), indirect=True)
def test_what_a_command_previews_is_what_it_does(estate: Estate) -> None:
    """`--dry-run` changes nothing, and says of each link what then becomes of it; its commands are the calls that are
    made then, each rule and each tag. So does the way back, `reopen`."""
    lab, acts = estate.lab, estate.acts()
    for name in PREVIEWED:
        words = [word for word in acts[name]() if word != "--yes"]
        before, way_back = estate.state(), []
        for command in (words, ["reopen", *words[1:]]) if name.startswith("close") else (words,):
            standing, count = estate.state(), len(lab.cloud.faults.calls)
            _, [preview] = estate.cli.json(*command, "--dry-run")
            assert (estate.state(), changed(lab, count)) == (standing, set()), command
            count = len(lab.cloud.faults.calls)
            _, [answer] = estate.cli.json(*command, *(["--yes"] if command[0] in ("close", "withdraw") else []))
            assert previewed(preview) == changed(lab, count), command
            assert outcomes(preview) == outcomes(answer), command
            way_back = answer["undo"] if command is words else [*way_back]
            estate.settle()
        estate.undo([text for text in way_back if " reopen " not in text])
        assert estate.state() == before, words


def printed(cli: Cli) -> list[str]:
    """The commands that the last one ended with."""
    _, heading, commands = cli.out.rpartition("To take it back:\n")
    return commands.splitlines() if heading else []


def story_undo(cli: Cli, request_id: str) -> list[str]:
    """What the story of a request says takes it back, by its own records."""
    code, records = cli.json("audit", "--story", request_id)
    acts = [record for record in records if record.get("request_id") == request_id and "undo" in record]
    return acts[-1]["undo"].splitlines() if code == 0 and acts else []


@pytest.mark.exhaustive
@pytest.mark.parametrize("estate", sample(range(SEEDS), 6), indirect=True)
def test_what_a_command_ends_with_leads_back(estate: Estate) -> None:
    """One act after the other, each taken back, on the same world."""
    before = estate.state()
    for name, act in estate.acts().items():
        words = act()
        assert estate.cli(*words) in (0, 1), estate.cli.err
        commands = printed(estate.cli)
        if name.startswith("request"):  # what it changes is known once it is carried out
            request_id = re.findall(r"as ([a-z]+-[0-9a-z]+)", estate.cli.out)[0]
            estate.settle()
            commands = story_undo(estate.cli, request_id)
        estate.settle()
        changed = estate.state() != before
        assert commands or not changed, words
        estate.undo(commands)
        assert estate.state() == before, (words, commands)


@pytest.mark.parametrize("estate", [1], indirect=True)
def test_a_lock_is_taken_off_and_set_again(estate: Estate) -> None:
    """By `reopen`, which ends with the `close` that locks again."""
    app, *_ = estate.groups
    assert estate.cli("close", app.id, "--yes") == 0, estate.cli.err
    estate.settle()
    closed = estate.state()
    assert estate.cli("reopen", app.id) == 0, estate.cli.err
    assert printed(estate.cli) == [shlex.join(["link-peer", "close", f"{app.id}@{HOME}"])]
    estate.undo(printed(estate.cli))
    assert [rules for _, rules in estate.state().values()] == [rules for _, rules in closed.values()]
    assert "link-lock" in estate.lab.tags(app)


def test_an_adopted_rule_becomes_a_persons_again(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was, with its description and its priority, and the consent that was written for the link goes."""
    _, db, rule = by_hand(lab)
    before = (lab.raw_rules(db), lab.tags(db))
    assert cli("adopt", rule, "--anyone-may-close", "--yes") == 0, cli.err
    owners = Owners(lab, cli, monkeypatch)
    for command in printed(cli):
        owners.paste(command + (" --yes" if "withdraw" in command else ""))
    tags = {key: value for key, value in lab.tags(db).items() if "managed" not in key}
    assert (lab.raw_rules(db), tags) == before
