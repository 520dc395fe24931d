"""Every command with the keys of home, of another account of the policy, of one that it does not list, and of a user
without rights.

What link-peer wrote is never called a person's, an unknown marker or nobody's because of whose keys read it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_local.api import Key, User, trust_text
from link_peer_cli.demo.functions import deploy
from link_peer_cli.main import all_commands
from msgspec.structs import replace

from tests.functional.command import Cli, Linked, ids, person, use_keys, write_profiles
from tests.functional.lab import HOME, OTHER, PEER, POLICY, Lab
from tests.sample import sample

KINDS = ("home", "peer", "stranger", "user")
STRANGER = "1000000000000009"
"""An account that the policy does not list."""
BOB = f"acs:ram::{HOME}:user/bob"
"""A user of home whom no policy allows anything."""

AT_HOME, ANYWHERE = "home", "any account of the policy"
ROWS: dict[str, tuple[str, str]] = {
    "who": ("who {db}", AT_HOME),
    "explain": ("explain {app} {db}", AT_HOME),
    "links": ("links", AT_HOME),
    "map": ("map", AT_HOME),
    "audit": ("audit --from 7d", AT_HOME),
    "audit --verify": ("audit --verify", AT_HOME),
    "doctor": ("doctor", AT_HOME),
    "doctor of an account": ("doctor {peer}", AT_HOME),
    "verify": ("verify --from {instance} --to 10.0.0.1", AT_HOME),
    "tighten": ("tighten {db}", AT_HOME),
    "request": ("request link --from {db} --to {other} --port tcp/80 --dry-run", AT_HOME),
    "request by name": ("request unlink --from depot --to {other} --dry-run", AT_HOME),
    "accept": ("accept {mine} sg-app@{home} --dry-run", ANYWHERE),
    "accept an id": ("accept chg-1042 --dry-run", AT_HOME),
    "withdraw": ("withdraw {mine} *@{other_account} --dry-run", ANYWHERE),
    "adopt": ("adopt {rule} --anyone-may-close --dry-run", AT_HOME),
    "close": ("close {mine} --dry-run", ANYWHERE),
    "close a deployment": ("close --deployment former --dry-run", AT_HOME),
    "reopen": ("reopen {mine} --dry-run", ANYWHERE),
    "sweep": ("sweep --dry-run", AT_HOME),
    "plan": ("plan {instance}", AT_HOME),
    "plan --policy": ("plan --policy {policy}", AT_HOME),
    "apply": ("apply {plan} --yes", AT_HOME),
    "check --live": ("check --live", AT_HOME),
    "setup": ("setup --dry-run", AT_HOME),
    "package": ("package --first --out {folder}", AT_HOME),
    "account list": ("account list", AT_HOME),
    "account remove": ("account remove {peer} --dry-run", AT_HOME),
    "failed": ("failed", AT_HOME),
    "failed --replay": ("failed --replay 1-0", AT_HOME),
}
"""A run of each command that reads accounts of the policy, and with keys of which accounts it may."""
WITHOUT_READING = {
    "account add": "it writes texts; `--profile` names the account, and is refused for another",
    "demo": "it has a cloud of its own",
    "init": "it has no policy file yet, and takes the account of the keys for home",
    "local": "it is a cloud",
}
"""Why the other commands cannot take one account for another."""
WITH_OWN_KEYS = {"accept", "withdraw", "setup", "package"}
"""They take on no role of home, so none refuses them."""
FAILING_AT_HOME = {"doctor": 1, "verify": 1, "accept an id": 1, "apply": 1, "failed --replay": 2, "package": 2}
"""What is asked of these does not succeed in this world: there are no alerts, no packet passes, nothing was denied or
failed, RAM refuses tags, something is deployed."""
HALF_KNOWN = {"close": 1}
"""What keys of another account alone cannot know: whether the half of a mutual link in home still stands."""
MISTAKEN = ("person", "not the marker", "does not exist", "nobody", "unknown marker", "damaged")
"""The words by which a rule, consent or a group is called another's."""


def test_every_command_has_its_row() -> None:
    """A new command is one or the other."""
    reading = {name for name, _ in all_commands() for row, _ in ROWS.values() if f"{row} ".startswith(f"{name} ")}
    assert reading | WITHOUT_READING.keys() == {name for name, _ in all_commands()}


class Keys:
    """`use("peer")` makes the person's keys those of that kind."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cloud = lab.cloud
        self._monkeypatch = monkeypatch
        lab.cloud.identity.add_account(STRANGER, "stranger")
        self._bob = lab.cloud.identity.add_key(User(HOME, "bob"))

    def use(self, kind: str) -> None:
        if kind == "user":
            self._monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", self._bob.access_key_id)
            self._monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", self._bob.secret)
        else:
            use_keys(self._cloud, self._monkeypatch, {"home": HOME, "peer": PEER, "stranger": STRANGER}[kind])


@pytest.fixture(name="keys")
def _keys(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Keys:
    return Keys(lab, monkeypatch)


@pytest.fixture(name="typed_in")
def _typed_in(living_lab: Lab, links: Linked, tmp_path: Path, cli: Cli) -> Callable[[str, str], list[str]]:
    """The words of a command for a kind of keys, in a world with links both ways and everything deployed."""
    lab = living_lab
    depot = lab.group(name="depot")
    lab.policy(tests=[{"from": f"{links.app.id}@{HOME}", "deny": [f"{depot.id}@{HOME}:tcp/22"]}])
    lab.sweep()
    lab.cloud.world.policy = str(lab.policy_path)
    lab.cloud.endpoint = "http://127.0.0.1:1"
    deploy(lab.cloud, in_process=True)
    (tmp_path / "event.json").write_text("{}")
    (tmp_path / "new.yaml").write_text(yaml.safe_dump({**POLICY, "never": []}))
    instance = next(iter(lab.cloud.ecs.accounts[HOME].instances.values()))
    plan = tmp_path / "plan.json"
    assert cli("sweep", "--dry-run", "--out", str(plan)) == 0
    values = {
        "app": links.app.id,
        "db": f"{links.db.id}@{PEER}",
        "other": f"{links.peer_target.id}@{HOME}",
        "rule": person(lab, depot, links.cache),
        "instance": instance.id,
        "home": HOME,
        "peer": PEER,
        "policy": str(tmp_path / "new.yaml"),
        "plan": str(plan),
        "event": str(tmp_path / "event.json"),
        "folder": str(tmp_path / "build"),
    }

    def words(row: str, kind: str) -> list[str]:
        own_id, account = (links.db.id, HOME) if kind == "peer" else (links.peer_target.id, PEER)
        return [word.format(**values, mine=own_id, other_account=account) for word in row.split()]

    return words


def table() -> list[Any]:
    return [pytest.param(name, id=name.replace(" ", "-")) for name in ROWS]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sample(table(), 2))
def test_no_account_is_taken_for_another(
    links: Linked, cli: Cli, keys: Keys, typed_in: Callable[[str, str], list[str]], name: str
) -> None:
    """With other keys than those of home, a command that needs home ends with 2 before it reads, and names both
    accounts. One that owners run with their own keys goes on, and calls nothing of link-peer's another's. `pytest -rP`
    prints the rows."""
    row, where = ROWS[name]
    codes = []
    for kind in KINDS:
        keys.use(kind)
        codes.append(cli(*typed_in(row, kind)))
        words = cli.out + cli.err
        if kind == "home":
            assert codes == [FAILING_AT_HOME.get(name, 0)], words
            assert "belongs to account" not in words
            assert "you are not" not in words
            continue
        if kind == "stranger" or (kind == "peer" and where == AT_HOME):
            account = {
                "peer": f"{PEER} (b@aliyun.com)",
                "stranger": f"{STRANGER}, which the policy file does not list",
            }[kind]
            assert (codes[-1], cli.out) == (2, ""), words
            assert f"belongs to account {account}; " in cli.err
            assert f"keys of the home account, {HOME} (a@aliyun.com): link-peer --profile NAME" in cli.err
        else:
            assert codes[-1] == (HALF_KNOWN.get(name, 0) if kind == "peer" else 1), words
        if kind == "user" and name not in WITH_OWN_KEYS:
            assert f"{BOB} acts with its own keys" in words
            assert "link-peer setup --operators" in words or "aliyun ram AttachPolicyToUser" in words
        assert [word for word in MISTAKEN if word in words] == [], words
    assert links.counts() == [1, 1, 1, 1]
    print(f"| {name} | {' | '.join(map(str, codes))} |")


def test_an_owners_keys_show_what_link_peer_wrote_as_that(lab: Lab, links: Linked, cli: Cli, keys: Keys) -> None:
    """The rule on their group is one that `close` would remove, and consent is what it alone allows; home is not
    entered, and why."""
    keys.use("peer")
    [rule] = [rule["SecurityGroupRuleId"] for rule in lab.raw_rules(links.db)]
    assert cli("close", links.db.id, "--dry-run") == 1
    assert rule in cli.out
    assert "half of a mutual link may still stand there, and could not be read" in cli.err
    assert cli("withdraw", links.db.id, f"*@{HOME}", "--dry-run") == 0, cli.err
    assert f"rule {rule} (tag)" in cli.out
    code, [answer] = cli.json("close", f"{links.peer_target.id}@{HOME}", "--dry-run")
    assert (code, answer["accounts"][0]["problem"]) == (1, "you have no keys of this account")


def test_a_name_of_another_account_is_not_looked_up_in_home(lab: Lab, links: Linked, cli: Cli, keys: Keys) -> None:
    """`close` takes the names of groups. With an owner's keys, a group of theirs is theirs, and home says whose keys it
    needs."""
    billing = lab.group(account=PEER, name="billing")
    keys.use("peer")
    code, [answer] = cli.json("close", "billing", "--dry-run")
    assert code == 0
    assert [call["account"] for call in answer["commands"]] == [PEER]
    assert billing.id in answer["commands"][0]["command"]
    assert cli("close", "depot", "--dry-run") == 1
    assert f"only home, account {HOME} (a@aliyun.com), enters others: use keys of home" in cli.err


REFUSED: dict[str, tuple[Callable[[Lab], object], str]] = {
    "the role is missing": (
        lambda lab: lab.cloud.identity.roles.pop(f"acs:ram::{PEER}:role/link-peer-reader"),
        f"the role acs:ram::{PEER}:role/link-peer-reader does not exist; whoever has keys of account {PEER} (b@aliyun.com) runs: ",
    ),
    "its trust refuses": (
        lambda lab: setattr(
            lab.cloud.identity.roles[f"acs:ram::{PEER}:role/link-peer-reader"],
            "trust",
            trust_text([f"acs:ram::{PEER}:root"]),
        ),
        f"the role acs:ram::{PEER}:role/link-peer-reader does not trust acs:ram::{HOME}:role/link-peer-reader, or asks for another",
    ),
}


@pytest.mark.parametrize("refusal", REFUSED)
def test_not_entered_says_why_and_what_mends_it(living_lab: Lab, cli: Cli, peer_profile: None, refusal: str) -> None:
    """The command that it names does mend it."""
    breaks, reason = REFUSED[refusal]
    breaks(living_lab)
    mend = f"link-peer account add {PEER} --profile PROFILE"
    for command in ("links", "doctor"):
        assert cli(*command.split()) == 1
        assert reason in cli.out + cli.err
        assert mend in cli.out + cli.err
    assert cli(*mend.replace("PROFILE", "peer").split()[1:]) == 0, cli.err
    assert cli("links") == 0, cli.err


ANN = f"acs:ram::{HOME}:user/ann"
"""An administrator of home whom nobody has named operator."""
NAMES_HER = f"link-peer setup --operators {ANN}"


@pytest.fixture(name="ann")
def _ann(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Key:
    """The person is Ann, who signed in with a second factor."""
    return sign_in(lab, monkeypatch)


def sign_in(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Key:
    """Ann's keys are the person's."""
    key = lab.cloud.identity.add_key(User(HOME, "ann", {("System", "AdministratorAccess"): 0}))
    key = replace(key, caller=replace(key.caller, mfa=True))
    lab.cloud.identity.keys[key.access_key_id] = key
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", key.access_key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", key.secret)
    return key


@pytest.mark.usefixtures("ann")
def test_who_is_no_operator_is_told_so(living_lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the doctor, for an account too, and by whatever other accounts refuse; with the command that mends it."""
    for command in ("doctor", f"doctor {PEER}"):
        _, findings = cli.json(*command.split())
        [finding] = [row for row in findings if row["what"] == "your role link-peer-operator"]
        assert (finding["state"], finding["advice"]) == ("warning", NAMES_HER)
        assert finding["detail"].startswith(f"you are not an operator: {ANN} acts with its own keys")
    assert cli("sweep") == 1
    assert cli.err.count(NAMES_HER) == 1
    assert cli("sweep", "--dry-run") == 0, cli.err  # as a reader
    with monkeypatch.context() as patch:
        use_keys(living_lab.cloud, patch, HOME)
        assert cli(*NAMES_HER.split()[1:]) == 0, cli.err
        living_lab.sweep()
    assert cli("sweep") == 0, cli.err
    _, findings = cli.json("doctor", PEER)
    assert [row["state"] for row in findings] == ["ok"]


@pytest.mark.usefixtures("ann")
def test_a_missing_operator_role_is_named(living_lab: Lab, cli: Cli) -> None:
    """Where `setup` was run without `--operators`."""
    del living_lab.cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-operator"]
    assert cli("sweep") == 1
    assert "since the role link-peer-operator does not exist (EntityNotExist.Role)" in cli.err


def test_an_account_is_removed_by_an_administrator_with_its_keys(
    three_accounts: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who is no operator reads the other accounts as a reader. What stands there is named, and whose work it is."""
    lab, cli = three_accounts, Cli(capsys)
    app, db, far = (
        lab.group(f"*@{PEER}"),
        lab.group("*", f"*@{HOME}", account=PEER),
        lab.group(f"*@{PEER}", account=OTHER),
    )
    for group in (app, db, far):
        lab.instance(group)
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    lab.cross_account(lab.request(db, far, "tcp/443"))
    assert (len(lab.rules(db)), len(lab.rules(far))) == (1, 1)
    write_profiles(lab, monkeypatch, tmp_path, {"home": HOME, "peer": PEER})
    sign_in(lab, monkeypatch)
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 1
    assert (len(lab.rules(db)), len(lab.rules(far))) == (0, 1)
    assert f"on {far.id}@{OTHER}" in cli.out + cli.err
    assert NAMES_HER in cli.err
    lab.call(OTHER, "RevokeSecurityGroup", {"SecurityGroupId": far.id, "SecurityGroupRuleId.1": ids(lab, far)[0]})
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 0, cli.err
    assert not [arn for arn in lab.cloud.identity.roles if f"::{PEER}:" in arn]


def test_the_keys_are_identified_once_a_command(living_lab: Lab, cli: Cli) -> None:
    """However many parts of it need to know whose they are."""
    for command in (
        "links",
        "sweep --dry-run",
        f"close {PEER} --dry-run",
        f"account remove {PEER} --dry-run",
    ):
        before = [call.action for call in living_lab.cloud.faults.calls].count("GetCallerIdentity")
        assert cli(*command.split()) in (0, 1)
        assert [call.action for call in living_lab.cloud.faults.calls].count("GetCallerIdentity") - before == 1, command
