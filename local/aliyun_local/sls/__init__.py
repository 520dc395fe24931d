"""Simple Log Service (SLS) of the local cloud: projects, logstores, indexes, logs, search."""

from aliyun_local.sls.backend import SlsBackend
from aliyun_local.sls.state import LogGroup, LogRecord

__all__ = ["LogGroup", "LogRecord", "SlsBackend"]
