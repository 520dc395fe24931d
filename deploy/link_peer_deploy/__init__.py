"""One deployment of link-peer: its names, roles, functions and files, and the package that Function Compute runs."""
