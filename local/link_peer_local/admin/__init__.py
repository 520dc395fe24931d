"""The local cloud's own interface: faults, clock, state, health. The real platform has nothing like it."""
