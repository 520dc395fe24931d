"""Dry runs: reads are real, changes are kept in memory, and nothing is written.

Later reads show the kept changes, so a reconcile that runs on this cloud takes every step that it would take on the
real one, and leaves a list of the calls it would have made.
"""
