"""Where the project's own files are: s.yaml, the handlers, the policy and the files of deploy/."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CODE = (ROOT / "functions", ROOT / "shared")
"""What a function finds on its path: the handlers, and the library."""
