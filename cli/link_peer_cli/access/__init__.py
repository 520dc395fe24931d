"""Who a person is to the cloud, and what a command works with: keys, roles, settings, and values of the command
line."""
