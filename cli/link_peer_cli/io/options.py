"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Service = Annotated[str, typer.Option(help="The FC 2.0 service that holds the functions. Default: FC 3.0.")]
