"""Message queues (MNS, now SMQ) of the local cloud."""
