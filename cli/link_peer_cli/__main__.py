"""The console script, and `python -m link_peer_cli`."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn


def main() -> NoReturn:
    """As `link_peer_cli.main.main`. Ctrl-C while that is imported ends the process without a stack trace."""
    gc.set_threshold(300_000)  # objects: nearly all that imports and reads make stays until the end
    try:
        from link_peer_cli.main import main as run  # within what catches Ctrl-C
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
