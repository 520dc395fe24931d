"""The acts of `link-peer demo`, and what they share."""
