"""The services that commands talk to, behind plain functions and classes."""
