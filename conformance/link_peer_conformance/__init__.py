"""`link-peer selftest`: the assumptions about the real cloud, as data, and what answers them on an account."""
