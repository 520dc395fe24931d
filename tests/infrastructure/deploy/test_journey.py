"""From an empty account to the first link, a second account, a rollback, and back to the empty account: `make
test-deploy`.

Everything is done as a new user does it: `link-peer` and `s` as processes in a folder of one's own, the keys of two
accounts with random uids, a region that is not the default. The functions run from the package that was built and
uploaded.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from alibabacloud_ecs20140526 import models as ecs_models
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_tea_openapi.models import Config
from aliyun_local.api import LocalCloud, serve
from link_peer_cli.demo import world

from tests.infrastructure.deploy.serverless import ROOT, Serverless

REGION = "cn-hangzhou"
LINK_PEER = Path(sys.executable).with_name("link-peer")

pytestmark = pytest.mark.skipif("LINK_PEER_TEST_DEPLOY" not in os.environ, reason="needs npm: `make test-deploy`")


class Journey:
    """Two accounts, `home` and `peer`, whose groups sg-app and sg-db (home) and sg-far (peer) share a VPC; and a
    person."""

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        self.cloud = cloud
        self.home = cloud.world.home
        [self.peer] = cloud.identity.accounts.keys() - {self.home}
        self.folder = folder / "links"
        keys = {uid: (uid, of.access_key_id, of.access_key_secret) for uid, of in cloud.identity.accounts.items()}
        self._env = {
            "PATH": f"{LINK_PEER.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LINK_PEER_CLOUD": cloud.endpoint,
            "LINK_PEER_REGION": REGION,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": keys[self.home][1],
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys[self.home][2],
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "PYENV_", "RUNTIME_"))},
        }
        (folder / ".aliyun").mkdir()
        profile = {"name": "b", "mode": "AK", "access_key_id": keys[self.peer][1], "region_id": REGION}
        profiles = {"current": "b", "profiles": [{**profile, "access_key_secret": keys[self.peer][2]}]}
        (folder / ".aliyun" / "config.json").write_text(json.dumps(profiles), encoding="utf-8")
        self.serverless = Serverless(folder / "links", folder / "s", cloud.endpoint, {"default": keys[self.home]})
        self._ecs = {uid: self._client(uid) for uid in keys}

    def _client(self, uid: str) -> Ecs:
        of = self.cloud.identity.accounts[uid]
        host = self.cloud.endpoint.removeprefix("http://")
        keys = {"access_key_id": of.access_key_id, "access_key_secret": of.access_key_secret}
        return Ecs(Config(**keys, endpoint=host, protocol="http", region_id=REGION))

    def link_peer(self, line: str, code: int = 0) -> str:
        """Run a command in the folder; its output."""
        result = subprocess.run(  # noqa: S603
            [LINK_PEER, *line.split()],
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == code, f"link-peer {line}: {result.returncode}\n{result.stdout}"
        return result.stdout

    def s(self, line: str) -> None:
        """Run the CLI of Serverless Devs in the folder."""
        self.serverless.calls_of(line)

    def tag(self, account: str, resource: str, **tags: str) -> None:
        """Tag an instance or a group, and let the functions do what follows."""
        kind = "instance" if resource.startswith("i-") else "securitygroup"
        pairs = [ecs_models.TagResourcesRequestTag(key.replace("_", "-"), value) for key, value in tags.items()]
        request = ecs_models.TagResourcesRequest(
            region_id=REGION, resource_type=kind, resource_id=[resource], tag=pairs
        )
        self._ecs[account].tag_resources(request)
        self.cloud.triggers.drain(within=60)

    def untag(self, account: str, *resources: str) -> None:
        """Remove every tag that a person set."""
        for resource in resources:
            kind = "instance" if resource.startswith("i-") else "securitygroup"
            request = ecs_models.UntagResourcesRequest(
                region_id=REGION,
                resource_type=kind,
                resource_id=[resource],
                tag_key=["link-peer", "link-accept"],
            )
            self._ecs[account].untag_resources(request)
        self.cloud.triggers.drain(within=60)

    def rules(self, account: str, group: str) -> list[str]:
        """`<source> <protocol>/<ports>` of each ingress rule of a group."""
        request = ecs_models.DescribeSecurityGroupAttributeRequest(
            region_id=REGION, security_group_id=group, direction="ingress"
        )
        permissions = self._ecs[account].describe_security_group_attribute(request).body.permissions.permission
        return [f"{rule.source_group_id} {rule.ip_protocol.lower()}/{rule.port_range}" for rule in permissions]

    def outcomes(self) -> list[str]:
        """The outcomes in the audit log, the newest last."""
        lines = self.link_peer("audit record=outcome --json --since 1h").splitlines()
        return [json.loads(line)["outcome"] for line in lines]

    def sweep(self) -> None:
        """Let the timer fire."""
        self.cloud.triggers.fire_timer("every-10m")
        self.cloud.triggers.drain(within=60)

    def forget(self, account: str) -> None:
        """Delete an account's lines from the policy file."""
        path = self.folder / "policy.yaml"
        policy = yaml.safe_load(path.read_text(encoding="utf-8"))
        del policy["accounts"][account]
        path.write_text(yaml.safe_dump(policy), encoding="utf-8")


def holdings(cloud: LocalCloud) -> dict[str, str]:
    """All that the accounts hold: `<kind> <account or place> <name>` -> its contents as far as they are a person's
    choice."""
    identity, sls = cloud.identity, cloud.sls
    contents: dict[str, str] = {}
    for arn, role in identity.roles.items():
        contents[f"role {arn}"] = f"{role.trust} {sorted(role.attached)}"
    contents |= {f"user {arn}": "" for arn in identity.users}
    contents |= {f"policy {account} {name}": policy.document for (account, name), policy in identity.policies.items()}
    contents |= {f"queue {account} {name}": "" for account, name in cloud.mns._queues}
    for project in sls._projects.values():
        contents[f"project {project.name}"] = ""
        for kind in ("logstores", "dashboards", "alerts", "searches"):
            contents |= {f"{kind} {project.name} {name}": "" for name in getattr(project, kind)}
    contents |= {f"record {place} {name}": "" for place, records in sls._records.items() for name in records}
    for (account, name), function in cloud.fc._functions.items():
        contents[f"function {account} {name}"] = ""
        contents |= {f"trigger {name} {trigger}": "" for trigger in function.triggers}
        contents |= {f"alias {name} {alias}": "" for alias in function.published.aliases}
        contents |= {f"version {name} {number}": "" for number in function.published.versions}
    contents |= {
        f"event-rule {place} {rule.name}": "" for place, rules in cloud.events._rules.items() for rule in rules
    }
    contents |= {f"stream {stream.settings.name}": "" for stream in cloud.triggers.streams}
    contents |= {f"timer {timer.function}": "" for timer in cloud.triggers.timers}
    now = cloud.clock.now()
    for owned in cloud.ecs.accounts.values():
        for group in owned.groups.values():
            contents[f"group {group.id}"] = f"{group.tags.at(now)} {[rule.description for rule in group.rules.at(now)]}"
        contents |= {f"instance {instance.id}": f"{instance.tags.at(now)}" for instance in owned.instances.values()}
    return contents


def changed(before: Mapping[str, str], cloud: LocalCloud) -> set[str]:
    """The names of what is new or differs."""
    return {name for name, value in holdings(cloud).items() if before.get(name) != value}


def kinds(names: set[str]) -> dict[str, int]:
    """How many there are of each kind."""
    return dict(sorted(Counter(name.partition(" ")[0] for name in names).items()))


@pytest.fixture(name="journey")
def _journey(tmp_path: Path) -> Iterator[Journey]:
    home, peer = (str(number) for number in random.sample(range(10**15, 10**16), 2))
    policy = {
        "home": home,
        "deployment": "shop",
        "bare": True,
        "accounts": {home: "home@example.com", peer: "other@example.com"},
        "vpcs": [{"name": "shared", "owner": home, "cidr": "10.0.0.0/16", "shared_with": [peer]}],
        "groups": [
            {"account": account, "vpc": "shared", "name": name, "id": f"sg-{name}"}
            for account, name in ((home, "app"), (home, "db"), (peer, "far"))
        ],
        "instances": [{"account": home, "id": "i-app", "groups": ["sg-app"]}],
    }
    path = tmp_path / "world.yaml"
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    cloud = LocalCloud(region=REGION)
    world.load(cloud, path)
    with serve(cloud):
        yield Journey(cloud, tmp_path)
        cloud.triggers.close()


def readme() -> list[str]:
    """The commands of README.md, "On your own account", without their comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## On your own account")[2]
    block = text.partition("```sh\n")[2].partition("```")[0]
    return [re.sub(r"\s+# .*", "", line) for line in block.splitlines()]


def begin(journey: Journey) -> None:
    """From the empty account to deployed functions, word for word as README.md says. What is installed is that of the
    test."""
    *installing, enter, export, init, setup, package, deploy, doctor = readme()
    assert [line.partition(" install")[0] for line in installing] == ["npm", "aliyun configure", "make -C link-peer"]
    assert (enter, export) == (
        f"mkdir {journey.folder.name} && cd {journey.folder.name}",
        f"export LINK_PEER_REGION={REGION}",
    )
    assert deploy == "s deploy -y"
    for line in (init, setup, package):
        journey.link_peer(line.removeprefix("link-peer "))
    journey.s(deploy.removeprefix("s "))
    journey.sweep()  # the timer fires within ten minutes
    journey.link_peer(doctor.removeprefix("link-peer "))


def link(journey: Journey) -> None:
    """The first link, by tags: the group accepts, the instance asks."""
    journey.tag(journey.home, "sg-db", link_accept="sg-app:tcp/3306")
    journey.tag(journey.home, "i-app", link_peer="sg-db:tcp/3306")
    assert journey.rules(journey.home, "sg-db") == ["sg-app tcp/3306/3306"]
    assert journey.outcomes()[-1] == "applied"


def widen(journey: Journey) -> None:
    """A second account, and a link to its group."""
    journey.link_peer(f"account add {journey.peer} --name b --profile b --write")
    journey.link_peer("package", code=1)
    journey.link_peer("package --allow-wider")
    journey.s("deploy -y")
    journey.tag(journey.peer, "sg-far", link_accept=f"sg-app@{journey.home}:tcp/9090")
    journey.tag(journey.home, "i-app", link_peer=f"sg-db:tcp/3306 sg-far@{journey.peer}:tcp/9090")
    assert journey.rules(journey.peer, "sg-far") == ["sg-app tcp/9090/9090"]
    assert journey.rules(journey.home, "sg-db") == ["sg-app tcp/3306/3306"]


def roll_back(journey: Journey) -> None:
    """To the version that does not know the second account, and forth again. Each answers."""
    for version, denied in (("1", True), ("2", False)):
        journey.s(f"alias publish --alias-name live --version-id {version} --vw {{}}")
        journey.tag(journey.home, "i-app", link_peer=f"sg-db:tcp/3306 sg-far@{journey.peer}:tcp/9090")
        assert ("denied" in journey.outcomes()[-2:]) == denied


def take_away(journey: Journey) -> None:
    """Links, the second account, functions, and what setup made."""
    journey.untag(journey.home, "i-app", "sg-db")
    journey.untag(journey.peer, "sg-far")
    journey.sweep()
    journey.link_peer(f"account remove {journey.peer} --profile b --yes")
    journey.forget(journey.peer)
    journey.s("remove -y")
    journey.link_peer("setup --remove --yes")


def test_from_an_empty_account_and_back(journey: Journey) -> None:
    """The logs stay until `--with-logs`; then nothing is left but the service-linked roles, which are EventBridge's."""
    cloud = journey.cloud
    before = holdings(cloud)
    begin(journey)
    link(journey)
    widen(journey)
    roll_back(journey)
    take_away(journey)
    logs = {name for name in changed(before, cloud) if not name.startswith("role ")}
    assert kinds(logs) == {"logstores": 3, "project": 1}
    journey.link_peer("setup --remove --with-logs --yes")
    leftovers = changed(before, cloud)
    assert {name.rpartition("EventBridge")[2] for name in leftovers} == {
        "SendToFC",
        "SendToMNS",
        "SourceActionTrail",
        "SourceCMS",
        "SourceMNS",
    }
    assert before.keys() <= holdings(cloud).keys()
