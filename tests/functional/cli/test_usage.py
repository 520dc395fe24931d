"""Usage: errors of the command line, and help."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from link_peer_cli.inventory.shown import STATES

from tests.functional.command import Cli
from tests.functional.lab import PEER, Lab

UNMEANT: list[tuple[str, str]] = [
    ("request link --from sg-a --to db", "--to"),
    ("request link --from sg-a --to '*'", "--to"),
    ("request link --from app --to sg-b", "--from"),
    ("request link --from sg-a --to i-b", "--to"),
    ("request open --from sg-a --to sg-b", "action: 'open' is not one of link, unlink, sync"),
    ("request link --from sg-a --to sg-b --port 3306", "--port"),
    ("request link --from sg-a --to sg-b --expires-in 3", "--expires-in"),
    ("request link --from sg-a --to sg-b --expires-in 25h", "--expires-in"),
    ("request link --from sg-a --to sg-b --until tomorrow", "--until"),
    ("request link --from sg-a --to sg-b --request-id 'a b'", "--request-id"),
    ("request unlink --from sg-a --to sg-b --until 2027-01-01T00:00:00Z", "--until"),
    ("request sync --from sg-a --to sg-b --port icmp", "--port"),
    ("request link --from sg-a --to sg-b --dry-run --wait", "--wait: "),
    ("audit --since yesterday", "--from"),
    ("audit --from 1h --to 2h", "--to: 2h is before 1h"),
    ("links --at 2099-01-01T00:00:00Z", "--at"),
    ("audit outcome=open", "is not one of applied, unchanged, removed, denied, failed"),
    ("audit 'reason=x\" or outcome: \"applied'", "reason: "),
    ("audit reason=no-consnet", "reason: "),
    ("audit 'link=*'", "link: "),
    ("audit linc=1", "did you mean link?"),
    ("audit denied", "is not FIELD=VALUE"),
    ("audit --quarter 2026Q5", "is not a quarter"),
    ("audit --quarter 2026Q3 --from 7d", "--quarter"),
    ("audit 'request=chg*'", "request_id: "),
    ("audit 'event=x\"'", "event_id: "),
    ("audit 'event=e?'", "event_id: "),
    ("audit 'event=a b'", "event_id: "),
    ("audit 'event=a\\\\'", "event_id: "),
    ("audit 'party=*'", "party: "),
    ("audit 'party=sg-*'", "party: "),
    ("audit 'party=sg-a or i-b'", "party: "),
    ("audit party=sg-a@1", "party: "),
    ("audit -o csv --json", "--output"),
    ("audit --story chg-1 outcome=applied", "--story"),
    ("audit --story 'x\" or \"y'", "--story"),
    ("audit --verify party=sg-a", "--verify"),
    ("audit --verify --story x", "--verify"),
    ("audit --verify --all", "--verify"),
    ("audit --verify -o csv", "--verify"),
    ("audit --verify --limit 1", "--verify"),
    ("audit --verify -f", "--verify"),
    ("audit --verify --evidence out", "--evidence"),
    ("audit --evidence out outcome=applied", "--evidence"),
    ("audit 'key=a*'", "key: "),
    ("audit --verify --from 91d", "--from: ActionTrail keeps events for 90 days"),
    ("plan no-such-file.json", "no-such-file.json"),
    ("plan README.md", "README.md: not JSON"),
    ("plan sg-db", "sg-db"),
    ("plan i-a@1", "'1' is neither the uid nor the name of an account"),
    ("plan i-a@1000000000000002", "sweep --dry-run"),
    ("plan", "give"),
    ("plan i-a --policy {policy}", "--policy"),
    ("plan --policy nowhere.yaml", "nowhere.yaml"),
    ("plan --policy {policy} --commands", "--commands"),
    ("plan --policy {policy} --out plan.json", "link-peer package; s deploy -y"),
    ("sweep --out plan.json", "--dry-run"),
    ("sweep --detailed-exitcode", "--dry-run"),
    ("sweep --believe-empty b", "--believe-empty"),
    ("sweep --believe-empty 1000000000000009", "1000000000000009"),
    ("doctor b", "b"),
    ("doctor 1000000000000009", "1000000000000009"),
    ("account add b", "neither the uid nor the name of an account"),
    ("account add", "uid"),
    ("account add 1000000000000003 --stack-group fd-1", "goes with --from"),
    ("account add 1000000000000003 --template a.yaml --profile b", "no command is printed with --profile"),
    ("account add 1000000000000001", "home account"),
    ("account add 1000000000000003 --profile peer", "belong to account 1000000000000002, not to 1000000000000003"),
    ("account add 1000000000000003 --external-id 'a b'", "--external-id"),
    ("account add 1000000000000002 --external-id another-external-id", "--external-id"),
    ("account add 1000000000000002 --role another", "the policy file names link-peer"),
    ("account add 1000000000000003 --closer ann", "--closer"),
    ("account add 1000000000000003 --closer ''", "--closer"),
    ("account add 1000000000000003 --closer acs:ram::1000000000000001:root", "--closer"),
    ("account add 1000000000000003 --closer acs:ram::1000000000000001:role/*", "--closer"),
    ("account add 1000000000000003 --closer acs:ram::1000000000000001:user/ann --no-closer", "--no-closer"),
    ("account list --region Qingdao", "--region"),
    ("account remove b", "b"),
    ("account remove 1000000000000001", "1000000000000001"),
    ("account remove 1000000000000003", "1000000000000003"),
    ("account remove 1000000000000002", "--yes"),
    ("verify --from i-a --to i-b --port udp/53", "--port: "),
    ("verify --from i-a --to i-b --role a/b", "--role"),
    ("map --format png", "--format"),
    ("map --out map.png", "--out: map.png does not end in .html, .svg, .mmd or .json: say which with --format"),
    ("check --live --snapshot saved.json", "--snapshot: not together with --live"),
    ("check --out saved.json", "--out: only with --live"),
    ("check --live --out saved.json a.yaml b.yaml", "--out: only with --live, and of one file"),
    ("local --world atlantis", "atlantis"),
    ("links -o xml", "'xml' is not one of 'table'"),
    ("links --state closed", "--state"),
    (
        "links --region Qingdao",
        "--region: 'Qingdao' is not a region that this version knows: did you mean cn-qingdao?\n",
    ),
    ("links --expiring soon", "--expiring"),
    ("links --account c@aliyun.com", "--account"),
    ("explain i-a i-b 3306", "3306"),
    ("accept sg-db", "who"),
    ("accept i-db sg-app", "neither the id of a group (sg-"),
    ("accept sg-db sg-app:tcp/0", "who: 'tcp/0' is not"),
    ("accept sg-db 'sg-app sg-b'", "one entry"),
    ("accept sg-db sg-app@1000000000000009", "not in the policy"),
    ("accept sg-db sg-app~20990101T000000Z --until 1d", "end already"),
    ("accept sg-db sg-app --until 2001-01-01T00:00:00Z", "--until"),
    ("accept 'chg 1'", "id"),
    ("withdraw sg-db sg-app:icmp --all", "without ports"),
    ("close", "give groups"),
    ("close sg-a --all", "give groups"),
    ("close i-a", "instance"),
    ("close sg-a@1000000000000009", "not in the policy"),
    ("close --account b", "uid"),
    ("close --deployment prod --yes", "close --all"),
    ("close --deployment No! --yes", "is not a name"),
    ("close sg-a --deployment test --all --yes", "give groups"),
    ("reopen", "give groups"),
    ("reopen sg-a --all", "give groups"),
    ("reopen i-a", "instance"),
    ("request link --from app --to sg-db", "--from: 'app' is not sg-"),
    ("request link --from sg-app --to db", "a command that opens takes the id, not a name from the cloud"),
    ("accept db sg-app", "a command that opens takes the id, not a name from the cloud"),
    ("reopen app", "takes the id, not a name"),  # whoever may rename a group would choose which one is opened
    ("reopen sg-a@1000000000000009", "not in the policy"),
    ("reopen --account b", "uid"),
    ("adopt sg-1", "'sg-1' is not sgr-"),
    ("adopt sgr-1 --group i-1", "'i-1' is not sg-"),
    ("adopt sgr-1 --as wish", "'wish' is not request or tag"),
    ("adopt sgr-1 --as tag", "--as tag, which needs it"),
    ("adopt sgr-1 --instance i-1", "--as tag, which needs it"),
    ("adopt sgr-1 --as tag --instance i-1 --until 7d", "link-until"),
    ("adopt sgr-1@1000000000000009", "nor the name of an account"),
    ("setup --region Qingdao", "--region"),
    ("setup --prefix Link", "LINK_PEER_PREFIX"),
    ("setup --with-logs", "only together with --remove"),
    ("setup --force", "only together with --remove"),
    ("setup --notify on-call", "--notify: 'on-call' is not an e-mail address"),
]
"""Commands that make no sense, and what the message says of each."""


@pytest.mark.usefixtures("peer_profile")
@pytest.mark.parametrize("name", sorted({command.split()[0] for command, _ in UNMEANT}))
def test_what_cannot_be_meant_is_a_usage_error(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Exit code 2, and the message says which option or argument. It comes before what it says of missing settings and
    keys, and before anything is read, changed or posted: a value with query syntax changes no query."""
    for variable in ("LINK_PEER_REGION", "ALIBABA_CLOUD_ACCESS_KEY_ID", "FC_REGION"):
        monkeypatch.delenv(variable, raising=False)
    for command, message in UNMEANT:
        if command.split()[0] == name:
            assert cli(*shlex.split(command.format(policy=lab.policy_path))) == 2, command
            assert message in cli.err, command
            assert "LINK_PEER_REGION" not in cli.err, command
    assert [lab.cloud.faults.count(service) for service in ("ecs", "mns", "sls")] == [0, 0, 0]


COMPLETED = {
    "wi": "withdraw",
    "links --par": "--party",
    "links --state ": " ".join(STATES),
    "links -o ": "table wide csv json",
    "audit outcome=": "outcome=applied outcome=unchanged outcome=removed outcome=denied outcome=failed",
    "audit outcome =": "applied unchanged removed denied failed",
    "audit reason=no-c": "reason=no-consent",
    "request --reason ": "",
    "map --format=s": "svg",
    "links --account ": "a@aliyun.com b@aliyun.com",
    "close --all --account=b": "b@aliyun.com",
    "--profile ": "shop",
    "explain l": "ledger",
    "request link --to ": "ledger",
    "close ": "ledger a@aliyun.com b@aliyun.com",
    "explain ledger sg-1@": "sg-1@a@aliyun.com sg-1@b@aliyun.com",
}
"""What is typed after `link-peer`, and what may come then."""


@pytest.fixture(name="_files")
def _files_here(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A policy file with a name, and a profile."""
    monkeypatch.setenv("HOME", str(tmp_path))
    lab.policy(names={"ledger": f"sg-db@{PEER}"})
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun" / "config.json").write_text(json.dumps({"profiles": [{"name": "shop"}, {"name": "a b"}]}))


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("typed", COMPLETED)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_options_and_values(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, shell: str, typed: str
) -> None:
    """Asked as each shell asks, by variables. What more words would be to it is left out."""
    words = f"link-peer {typed}"
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_TYPER_COMPLETE_ARGS": words}
    variables |= {"_LINK_PEER_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli() == 0
    matches = re.findall(r'[(\n]"([^"]+)"', cli.out) if shell == "zsh" else re.findall(r"(?m)^[^\t\n]+", cli.out)
    assert (matches, cli.err) == (COMPLETED[typed].split(), "")
    Path(os.environ["LINK_PEER_POLICY"]).write_text("not: [a policy")
    assert (cli(), cli.err) == (0, "")
    monkeypatch.setenv("LINK_PEER_POLICY", "/nowhere")
    monkeypatch.setenv("HOME", "/nowhere")
    assert (cli(), cli.err) == (0, "")


@pytest.mark.usefixtures("_files")
def test_completion_works_in_bash() -> None:
    """With the function that `--install-completion` installs. Bash parts words at `=` and `@`."""
    program = f'PATH="{Path(sys.executable).parent}:$PATH"; eval "$(_LINK_PEER_COMPLETE=source_bash link-peer)"'
    for words in ("explain l", "links --account = b", "explain ledger sg-1 @ b"):
        script = f"COMP_WORDS=(link-peer {words}); COMP_CWORD={len(words.split())}"
        program += f'; {script}; _link_peer_completion link-peer; echo "${{COMPREPLY[*]}}"'
    result = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)  # noqa: S603, S607  # our own
    assert (result.stdout.split(), result.stderr) == (["ledger", "b@aliyun.com", "@b@aliyun.com"], "")
