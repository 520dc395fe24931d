"""The log project: its logstores with their indexes, and the saved searches."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from typing import Any

from aliyun.log.index_config import IndexConfig
from link_peer.alicloud import sls
from link_peer.domain.errors import CloudError

from link_peer_cli.setup.resource import Changeable, Resource, SetupTarget, State
from link_peer_cli.setup.sdk import log_call, merged, reduced

NO_PROJECT = "ProjectNotExist"
NO_LOGSTORE = "LogStoreNotExist"
UPDATED_FIELDS = (
    *("logstoreName", "ttl", "shardCount", "enable_tracking", "autoSplit", "maxSplitShard", "appendMeta"),
    "hot_ttl",
)
"""What UpdateLogStore takes, and refuses everything else [src aliyun-log-python-sdk]."""
NOT_FOUND = frozenset({NO_PROJECT, NO_LOGSTORE})
"""What a resource within a project or a logstore that does not exist is answered, and for a while one that is new."""

ANOTHER_NAME = "set another LINK_PEER_PREFIX"


def resources(deployment: SetupTarget) -> list[Resource]:
    """The project, its logstores with an index each, and the saved searches, in the order of creation."""
    logs, described = Logs(deployment), deployment.description
    return [
        LogProject(logs),
        *(LogstoreResource(logs, logstore.name, logstore.days) for logstore in described.logstores),
        *(LogIndex(logs, logstore.name, logstore.index) for logstore in described.logstores),
        *(SavedSearch(logs, search) for search in described.searches),
    ]


class Logs:
    """SLS through its official SDK, and the project of the deployment."""

    def __init__(self, deployment: SetupTarget) -> None:
        self.deployment = deployment
        self.project = deployment.names.audit_project(deployment.settings.region)

    @functools.cached_property
    def client(self) -> Any:
        """One client for all resources."""
        return sls.client(self.deployment.settings)


class InProject(Resource):
    """A resource within the log project."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self.deployment = logs.deployment

    @property
    def client(self) -> Any:
        """The SLS client."""
        return self.logs.client

    @property
    def project(self) -> str:
        """The project's name."""
        return self.logs.project


class LogProject(InProject):
    """The log project. Deleting it deletes the audit log."""

    kind = "log project"
    of_the_logs = True

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its name, which no other customer of the region may have."""
        return self.project

    @property
    def target_state(self) -> State:
        """Nothing but that it exists."""
        return {}

    def read(self) -> State | None:
        """Whether it exists."""
        response = log_call(lambda: self.client.get_project(self.project), {NO_PROJECT})
        return None if response is None else {}

    def create(self) -> None:
        """Create it."""
        try:
            log_call(lambda: self.client.create_project(self.project, "link-peer"))
        except CloudError as error:
            if error.code != "ProjectAlreadyExist":
                raise
            raise CloudError(error.code, f"another customer holds the name: {ANOTHER_NAME}") from None

    def update(self) -> None:
        """Nothing of it is ever changed."""

    def delete(self) -> None:
        """Delete it with everything in it."""
        log_call(lambda: self.client.delete_project(self.project), {NO_PROJECT})


class LogstoreResource(InProject):
    """A logstore. Deleting it deletes its logs, and so does a shorter retention: it is only ever made longer, and only
    if somebody says so."""

    kind = "logstore"
    of_the_logs = True

    def __init__(self, logs: Logs, name: str, days: int) -> None:
        """`days` is for how long a new one keeps a log, unless somebody asked for longer, or shorter, audit records."""
        super().__init__(logs)
        self.name = name
        self._audit = name != self.deployment.names.function_logstore
        self._retention = self._audit and self.deployment.retention
        self._days = self._retention or days

    @property
    def target_state(self) -> State:
        """How long it keeps a log."""
        return {"days": self._days}

    def read(self) -> State | None:
        """How long it keeps a log, and what UpdateLogStore takes of it."""
        response = log_call(lambda: self.client.get_logstore(self.project, self.name), NOT_FOUND)
        if response is None:
            return None
        body = response.get_body()
        return {"days": response.get_ttl(), "whole": {name: body[name] for name in UPDATED_FIELDS if name in body}}

    def differing(self, current: State) -> tuple[str, ...]:
        """Nothing, if it keeps a log for longer."""
        return ("days",) if current["days"] < self._days else ()

    def exemption(self, current: State) -> str:
        """For how long it keeps a log, unless that is as wanted, or to be made longer."""
        days = current["days"]
        if days > self._days:
            return f"kept at {days} days, not shortened to {self._days}"
        if days == self._days or self._retention:
            return ""
        longer = f"; longer with `link-peer setup --retention {self._days}`" if self._audit else ""
        return f"kept at {days} days{longer}"

    def create(self) -> None:
        """Create it; it may grow to 64 shards by itself, and says when it received a log."""
        options = {"ttl": self._days, "auto_split": True, "max_split_shard": 64, "append_meta": True}
        log_call(lambda: self.client.create_logstore(self.project, self.name, **options), late=NOT_FOUND)

    def update(self) -> None:
        """Keep logs for as long as wanted."""
        response = log_call(lambda: self.client.get_logstore(self.project, self.name))
        hot = getattr(response, "hot_ttl", None) or -1  # the SDK would set it to "all"
        log_call(lambda: self.client.update_logstore(self.project, self.name, ttl=self._days, hot_ttl=hot))

    def delete(self) -> None:
        """Delete it with its logs."""
        log_call(lambda: self.client.delete_logstore(self.project, self.name), NOT_FOUND)


class LogIndex(InProject):
    """The index of a logstore. It covers what is written after its last change."""

    kind = "index"
    of_the_logs = True

    def __init__(self, logs: Logs, logstore: str, document: Mapping[str, Any]) -> None:
        super().__init__(logs)
        self.name = logstore
        self._document = document

    @property
    def target_state(self) -> State:
        """The whole index."""
        return self._document

    def _body(self) -> Any:
        response = log_call(
            lambda: self.client.get_index_config(self.project, self.name), {*NOT_FOUND, "IndexConfigNotExist"}
        )
        return response and response.get_index_config().to_json()

    def read(self) -> State | None:
        """The index as it is, without what SLS adds."""
        index = self._body()
        return index and {**reduced(index, self._document), "whole": without_times(index)}

    def create(self) -> None:
        """Create it."""
        log_call(lambda: self.client.create_index(self.project, self.name, _config(self._document)), late=NOT_FOUND)

    def update(self) -> None:
        """Bring what is ours to the wanted state; fields that people added stay."""
        config = _config(merged(self._body(), self._document))
        log_call(lambda: self.client.update_index(self.project, self.name, config), late=NOT_FOUND)

    def delete(self) -> None:
        """Delete it; the logs stay."""
        log_call(lambda: self.client.delete_index(self.project, self.name), {*NOT_FOUND, "IndexConfigNotExist"})


def without_times(entity: Mapping[str, Any]) -> dict[str, Any]:
    """What SLS shows, as it takes it."""
    return {name: value for name, value in entity.items() if not re.search("(?i)(create|modif)[a-z]*time", name)}


def _config(document: Mapping[str, Any]) -> Any:
    config = IndexConfig()
    config.from_json(document)
    return config


class ConsoleObject(InProject, Changeable):
    """What the console of the project shows: one JSON object, which is replaced as a whole."""

    noun: str
    """What the SDK's methods call it."""
    missing: str
    """The code with which SLS refuses one that does not exist."""

    def detail(self) -> dict[str, Any]:
        """What is sent to create it."""
        return dict(self.target_state)

    def ask(self, verb: str, argument: Any, missing: Collection[str] = (), late: Collection[str] = ()) -> Any:
        """The answer of one of the SDK's methods, as `log_call`."""
        method = getattr(self.client, f"{verb}_{self.noun}")
        return log_call(lambda: method(self.project, argument), missing, late)

    def body(self) -> Any:
        """The object as it is; None if there is none."""
        response = self.ask("get", self.name, {*NOT_FOUND, self.missing})
        return response and response.get_entity()

    def read(self) -> State | None:
        """What is ours of it."""
        entity = self.body()
        return entity and {**reduced(entity, self.target_state), "whole": without_times(entity)}

    def create(self) -> None:
        """Create it."""
        self.ask("create", self.detail(), late=NOT_FOUND)

    def update(self) -> None:
        """Replace it."""
        self.ask("update", self.detail())

    def delete(self) -> None:
        """Delete it."""
        self.ask("delete", self.name, {*NOT_FOUND, self.missing})


class SavedSearch(ConsoleObject):
    """A query of the audit log that is offered in its console."""

    kind = "saved search"
    noun = "savedsearch"
    missing = "SavedSearchNotExist"

    def __init__(self, logs: Logs, search: Mapping[str, str]) -> None:
        super().__init__(logs)
        self.name = search["name"]
        self._detail = {
            "savedsearchName": search["name"],
            "displayName": search["title"],
            "searchQuery": search["query"],
            "logstore": logs.deployment.names.audit_logstore,
            "topic": "",
        }

    @property
    def target_state(self) -> State:
        """The search as SLS keeps it."""
        return self._detail
