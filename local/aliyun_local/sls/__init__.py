"""Simple Log Service (SLS) of the local cloud: projects, logstores, indexes, logs, search."""

from link_peer_local.sls.backend import SlsBackend
from link_peer_local.sls.state import LogGroup, LogRecord

__all__ = ["LogGroup", "LogRecord", "SlsBackend"]
