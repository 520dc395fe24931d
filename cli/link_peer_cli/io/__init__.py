"""Input from the command line and the environment; output for people and programs."""
