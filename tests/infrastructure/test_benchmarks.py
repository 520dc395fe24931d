"""The benchmarks run: the machinery on this Python and the sources, with the smallest figures. No test looks at
times."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from link_peer.inbound import policy_file
from link_peer.planning.rota import AT_ONCE, runs_between

from benchmarks import day, growth, organisation, ref, virtual
from benchmarks.estate import Estate
from benchmarks.figures import entries, events, fleet, launches, people, policy, scale, tighten
from benchmarks.process import Code
from benchmarks.runner import Bench
from tests.sample import sample

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [str(ROOT / "functions"), str(ROOT / "shared"), *filter(None, sys.path)]
BENCH = Bench(Code(sys.executable, FOLDERS), 1, {"LINK_PEER_POLICY": str(ROOT / "benchmarks" / "policy.yaml")})


def test_an_event_is_counted_call_by_call() -> None:
    """The function runs in one process, the cloud in another."""
    (row,) = events.untagged(BENCH, None, [0])
    assert isinstance(row.ours, str)
    assert int(row.ours) >= 1


def test_launches_are_shared_by_workers() -> None:
    """Every rule stands afterwards, and only what changes rules or tags counts as a change."""
    calls = launches.launch(BENCH, launches=4, links=2, workers=2)
    assert calls["AuthorizeSecurityGroup"] >= 2
    assert calls["DescribeInstances"] >= 4


def test_commands_are_measured_in_a_company_of_five_accounts() -> None:
    """Its links are opened by a real sweep, and each command is a process of its own, whose calls are counted."""
    opened, links = people.measured(1, size=12, only="links --json")
    assert (opened.command.line, opened.runs[0].code) == ("sweep", 0)
    assert opened.calls[0] > 60
    documents = [json.loads(line) for line in links.runs[0].output.splitlines()]
    assert {document["state"] for document in documents} == {"open", "partly"}
    assert {"tag", "chg-1000"} <= {claim for document in documents for claim in document["claims"]}
    assert {document["from_account"] != document["to_account"] for document in documents} == {True, False}
    assert links.runs[0].cpu > 0
    assert links.row().figure.startswith("`links --json`: ")


def test_wide_rules_are_measured_in_an_estate_of_three_accounts() -> None:
    """Each rule is used, one call reads the rules of a group, and links between groups and between instances are
    proposed."""
    size = Estate(6, 18)
    measurement = tighten.measured(size)
    assert [len(command.rules) for command in measurement.commands] == [12, 12]
    assert {rule["use"] for rule in measurement.commands[0].rules} == {"used"}
    assert measurement.commands[1].calls["ecs.DescribeSecurityGroupAttribute"] == size.groups
    assert measurement.links > size.groups
    assert len(measurement.rows()) == 9


def test_the_reader_of_policies_is_measured_on_texts_of_the_whole_size() -> None:
    """Hostile and honest ones, none of which is refused for its length."""
    rows = policy.measure(BENCH, size=2048)
    assert len(rows) == len(policy.PARTS)
    assert all(2000 < len(text) <= 2048 for text in policy.texts(2048).values())


def test_entries_of_a_policy_are_measured_in_a_small_account() -> None:
    """A link and a sweep, with entries of each kind; and by which power a cost grows."""
    assert [len(policy_file.parse(entries.policy(kind, 5)).never) for kind in ("none", "never", "allow")] == [0, 5, 0]
    costs = entries.cpu(BENCH.ours, "allow", 5, groups=2)
    assert costs.keys() == {"link", "sweep"}
    assert all(cost > 0 for cost in costs.values())
    assert entries.reviewed(BENCH.ours, 3) > 0
    assert entries.exponent((10, 100, 1000), (2, 20, 200)) == pytest.approx(1)
    assert entries.exponent((10, 100, 1000), (1, 100, 10_000)) == pytest.approx(2)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("accounts", "peers"), sample([(AT_ONCE + 1, 1), (AT_ONCE + 1, 0), (3, 0), (3, 1)], 3))
def test_the_model_of_a_day_is_what_the_local_cloud_counts(accounts: int, peers: int, tmp_path: Path) -> None:
    """At rest, with every account's turn at each run, and with the fewest that have looks between two turns; also where
    a rule in each account names an instance of another."""
    groups, runs = 3 + peers, runs_between(accounts)
    of = day.Organisation(accounts, (101 + peers) * accounts, groups * accounts, peers=peers)
    with virtual.deployed(organisation.written(tmp_path, accounts)) as deployment:
        organisation.settle(deployment.cloud, accounts, 3, 101)
        if peers:
            organisation.connect(deployment.cloud, accounts)
        counted = [sum((deployment.run() for _ in range(runs)), Counter()) for _ in ("first", "then")][1]
    worked_out = day.a_day(of).calls
    assert counted["sts.AssumeRole"] * 144 // runs <= worked_out["sts.AssumeRole"]  # one process reuses its sessions
    worked_out["sts.AssumeRole"] = counted["sts.AssumeRole"] * 144 // runs
    assert {api: count * 144 // runs for api, count in counted.items()} == worked_out


def test_the_model_of_a_day_knows_how_long_records_are(tmp_path: Path) -> None:
    """Within a tenth, as the local cloud writes them."""
    with virtual.deployed(organisation.written(tmp_path, 3)) as deployment:
        organisation.settle(deployment.cloud, 3, 3, 101)
        deployment.run()
        sizes = [
            sum(len(key) + len(text) for key, text in record.items())
            for scope in ("account", "timer")
            for record in deployment.records(record="summary", scope=scope)
        ]
    assert sizes[:-1] == [pytest.approx(day.SUMMARY, rel=0.1)] * 3
    assert sizes[-1] == pytest.approx(day.TIMER_SUMMARY, rel=0.1)


@pytest.mark.parametrize(("costs", "fitted"), [((5, 5, 5, 5), 0), ((9, 10, 100, 1000), 1), ((0, 1, 100, 10_000), 2)])
def test_the_exponent_of_growth_is_that_of_the_largest_sizes(costs: tuple[int, ...], fitted: int) -> None:
    assert growth.exponent((1, 10, 100, 1000), costs) == pytest.approx(fitted)


@pytest.mark.parametrize("grown", growth.ROWS, ids=lambda grown: grown.subject)
def test_what_grows_is_measured_at_each_size(grown: growth.Growth) -> None:
    """Numbers of calls do not grow faster than is promised; no test looks at times."""
    rows = growth.rows(msgspec.structs.replace(grown, sizes=(4, 8, 16)))
    assert [row.figure.partition(",")[0] for row in rows] == [name.partition(",")[0] for name in grown.most]
    assert all(row.met for row in rows if "CPU" not in row.figure)


def test_a_missed_link_opens_in_the_run_that_lists_its_instance() -> None:
    """On a virtual clock, and the run says how far it is."""
    runs, measured = scale.missed_link(250, 2)
    assert (runs.ours, runs.met) == ([1.0], True)
    assert measured.ours == "251 instances on 3 pages: all listed; rules of 3 of 3 groups read"


def test_a_fleet_that_shrinks_leaves_its_calls_to_others() -> None:
    """On a virtual clock: half of it still asks, and each other link opens. With the sources of a commit it is the same
    figure."""
    now = fleet.halved(60, 30)
    assert (now.rules, None in now.openings) == (1, False)
    text = ref.output("HEAD", "benchmarks.figures.fleet", ["60", "30"])
    rows = fleet.rows(now, msgspec.json.decode(text, type=fleet.Halved), 60)
    assert [row.before == "–" for row in rows] == [False] * 4
    assert rows[-1].met


def test_the_page_of_costs_has_the_days_that_the_model_works_out() -> None:
    """`python -m benchmarks.day` prints them."""
    assert day.table() in (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
