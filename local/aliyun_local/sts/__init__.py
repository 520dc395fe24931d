"""STS of the local cloud: temporary keys of roles, and who is calling."""
