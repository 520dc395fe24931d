"""What the services share: HTTP values, signatures, identities, faults, clocks."""
