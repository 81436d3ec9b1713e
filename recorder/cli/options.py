"""Options and defaults that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recorder.config.default_path import DEFAULT_CONFIG

Config = Annotated[Path, typer.Option(help="Configuration file.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
OneCustomer = Annotated[str | None, typer.Option(help="Only this customer; all if omitted.")]
WhichCustomer = Annotated[str | None, typer.Option("--customer", help="Customer; needed if there are several.")]

__all__ = ["DEFAULT_CONFIG", "AsJson", "Config", "OneCustomer", "WhichCustomer"]
