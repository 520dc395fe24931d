"""The `link-peer` command line."""
