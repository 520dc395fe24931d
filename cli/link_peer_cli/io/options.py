"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Service = Annotated[str, typer.Option(help="The FC 2.0 service that holds the functions. Default: FC 3.0.")]
Qualifier = Annotated[
    str, typer.Option(help="A version or an alias. Default: live on FC 3.0, the latest code in an FC 2.0 service.")
]
