"""Changes before they are made: what a run or another policy would open and close, saved for review and carried out.

In a dry run, reads are real, changes are kept in memory, and nothing is written. Later reads show the kept changes, so
a reconcile that runs on this cloud takes every step that it would take on the real one, and leaves a list of the calls
it would have made.
"""
