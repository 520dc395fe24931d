"""Simple Log Service (SLS) of the local cloud: projects, logstores, indexes, logs, search."""

from local.sls.store import LogGroup, LogRecord, SlsBackend

__all__ = ["LogGroup", "LogRecord", "SlsBackend"]
