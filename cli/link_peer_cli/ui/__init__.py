"""What people and programs see: the console and its tables, drawings, files, exit codes, and how commands are
worded."""
