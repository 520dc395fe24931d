"""`make mutate`: small wrong changes of the code that decides, and whether a test fails for each (CONTRIBUTING.md)."""
