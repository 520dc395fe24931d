"""Creates what must exist before the first deploy: two queues, and the log project with its logstores and index.

Reads the same environment as s.yaml, and keys from ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET. Run it again at any time:
what is there stays as it is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aliyun.log import IndexConfig
from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.queue import QueueMeta

from shared import policy, settings, sls
from shared.errors import LinkPeerError

WEEK = 7 * 24 * 3600  # the longest that a queue keeps a message [doc SMQ limits]
AUDIT_DAYS = 365
FUNCTION_DAYS = 30
NAMES = ("LINK_PEER_DEAD_LETTER_QUEUE", "LINK_PEER_FUNCTION_LOGSTORE")


def main() -> int:
    given = settings.load()
    missing = [name for name in NAMES if not os.environ.get(name)]
    if not (given.queue and given.audit_project and given.audit_logstore) or missing:
        raise LinkPeerError("set the LINK_PEER_ names first: docs/operations.md lists them")
    dead_letters, function_logstore = (os.environ[name] for name in NAMES)
    queues(given, policy.load(given.policy_path).home, [given.queue, dead_letters])
    logs(given, function_logstore)
    return 0


def queues(given: settings.Settings, home: str, names: list[str]) -> None:
    scheme, host = given.endpoint("mns")
    endpoint = f"{scheme}://{host}" if host else f"https://{home}.mns.{given.region}.aliyuncs.com"
    keys = given.credentials
    account = Account(endpoint, keys.access_key_id, keys.access_key_secret, keys.security_token or "")
    for name in names:
        meta = QueueMeta(msg_ttl=WEEK)
        try:
            account.get_queue(name).create(meta)
        except MNSServerException as error:
            if error.type != "QueueAlreadyExist":  # with other attributes: somebody's choice, which stays
                raise
        print(f"queue {name}")


def logs(given: settings.Settings, function_logstore: str) -> None:
    client: Any = sls.client(given)
    project, audit = given.audit_project, given.audit_logstore
    index = IndexConfig()
    index.from_json(json.loads(Path(__file__).with_name("sls-index.json").read_text(encoding="utf-8")))
    _once("ProjectAlreadyExist", lambda: client.create_project(project, "link-peer"))
    _once("LogStoreAlreadyExist", lambda: client.create_logstore(project, audit, ttl=AUDIT_DAYS))
    _once("LogStoreAlreadyExist", lambda: client.create_logstore(project, function_logstore, ttl=FUNCTION_DAYS))
    _once("IndexAlreadyExist", lambda: client.create_index(project, audit, index))
    print(f"log project {project}: {audit} (indexed), {function_logstore}")


def _once(there: str, create: Callable[[], object]) -> None:
    try:
        create()
    except sls.AuditUnavailable as error:
        if error.code != there:
            raise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LinkPeerError, sls.AuditUnavailable, MNSServerException) as problem:
        sys.exit(f"prepare: {problem}")
