"""Run `python -m link_peer_cli`."""

from __future__ import annotations

from link_peer_cli.main import main

main()
