"""Who a person is to the cloud: access keys, and the roles that a command takes on."""
