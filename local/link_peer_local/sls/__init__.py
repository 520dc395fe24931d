"""Simple Log Service (SLS) of the local cloud: projects, logstores, indexes, logs, search."""

from link_peer_local.sls.backend import LogGroup, LogRecord, SlsBackend

__all__ = ["LogGroup", "LogRecord", "SlsBackend"]
