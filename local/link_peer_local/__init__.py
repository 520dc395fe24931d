"""A small Alibaba Cloud on loopback: one in-memory backend per service, one wire layer, one server."""
