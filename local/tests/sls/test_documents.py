"""Dashboards, alerts, saved searches and the records of the alert centre, through the official Python client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aliyun.log import LogClient
from aliyun.log.resource_params import ResourceRecord

from aliyun_local.cloud import LocalCloud
from clients import refusal
from test_sls_client import HOME, PEER, client_of

SEARCH = {
    "savedsearchName": "denied",
    "displayName": "What was denied",
    "searchQuery": "outcome: denied",
    "logstore": "store",
    "topic": "",
}
TABLE = "sls.common.user"


@pytest.fixture(name="client")
def _client(local_cloud: LocalCloud) -> LogClient:
    client = client_of(local_cloud, HOME)
    client.create_project("proj", "a project")
    return client


def test_a_saved_search_is_created_replaced_and_deleted(client: LogClient) -> None:
    """It is returned as it was sent. A name is taken in its project alone."""
    client.create_project("other", "")
    for project in ("proj", "other"):
        client.create_savedsearch(project, SEARCH)
    assert refusal(client.create_savedsearch, "proj", SEARCH) == ("ParameterInvalid", 400)
    assert client.get_savedsearch("proj", "denied").get_entity() == SEARCH
    client.update_savedsearch("proj", {**SEARCH, "searchQuery": "*"})
    assert client.get_savedsearch("proj", "denied").get_entity()["searchQuery"] == "*"
    assert client.list_savedsearch("proj").get_entities() == ["denied"]
    client.delete_savedsearch("proj", "denied")
    assert refusal(client.get_savedsearch, "proj", "denied") == ("SavedSearchNotExist", 404)


@pytest.mark.parametrize(
    "changes", [{"savedsearchName": "ab"}, {"searchQuery": ""}, {"logstore": None}, {"displayName": ""}]
)
def test_an_incomplete_saved_search_is_refused(client: LogClient, changes: dict[str, Any]) -> None:
    """A name has at least three characters; query, logstore and title are needed."""
    assert refusal(client.create_savedsearch, "proj", {**SEARCH, **changes}) == ("ParameterInvalid", 400)


def test_a_record_is_kept_for_the_account(local_cloud: LocalCloud) -> None:
    """In the main region, whatever the region of the projects; other accounts do not see it."""
    main = client_of(local_cloud, HOME, "cn-heyuan.log.aliyuncs.com")
    user = {"user_id": "ann", "user_name": "Ann", "email": ["ann@example.com"], "enabled": True}
    main.create_resource_record(TABLE, ResourceRecord("ann", "Ann", user))
    record = main.get_resource_record(TABLE, "ann").get_record()
    value = record.get_value()
    assert (record.get_record_id(), json.loads(value) if isinstance(value, str) else value) == ("ann", user)
    main.update_resource_record(TABLE, ResourceRecord("ann", "Ann", {**user, "enabled": False}))
    assert local_cloud.sls.records(HOME, TABLE)["ann"]["value"] == json.dumps({**user, "enabled": False})
    peer_client = client_of(local_cloud, PEER, "cn-heyuan.log.aliyuncs.com")
    assert refusal(peer_client.get_resource_record, TABLE, "ann") == ("ResourceRecordNotExist", 404)
    main.delete_resource_record(TABLE, ["ann"])
    assert refusal(main.get_resource_record, TABLE, "ann") == ("ResourceRecordNotExist", 404)


def test_records_are_not_in_other_regions_nor_in_unknown_tables(local_cloud: LocalCloud, client: LogClient) -> None:
    """A value is a JSON object."""
    assert refusal(client.get_resource_record, TABLE, "ann") == ("ProjectNotExist", 404)
    main = client_of(local_cloud, HOME, "cn-heyuan.log.aliyuncs.com")
    record = ResourceRecord("ann", "Ann", {"user_id": "ann"})
    assert refusal(main.create_resource_record, "sls.unknown", record) == ("ResourceNotExist", 404)
    main.create_resource_record(TABLE, record)
    assert refusal(main.create_resource_record, TABLE, record) == ("ResourceRecordAlreadyExist", 400)


def test_a_new_project_may_be_invisible_for_a_while(local_cloud: LocalCloud) -> None:
    """Its name is taken at once."""
    local_cloud.sls.project_visible_after = 10
    client = client_of(local_cloud, HOME)
    client.create_project("fresh", "")
    assert refusal(client.create_logstore, "fresh", "store") == ("ProjectNotExist", 404)
    assert refusal(client.create_project, "fresh", "") == ("ProjectAlreadyExist", 400)
    local_cloud.clock.sleep(10)
    client.create_logstore("fresh", "store")
