"""Commands to try things out: demo, simulate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("demo")(demo)


def demo(
    keep: Annotated[Path | None, typer.Option(help="Folder to keep everything in; the server goes on until Ctrl-C.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> int:
    """Record real SIPREC calls to this very machine over TLS with SRTP, and play them back. Example: recorder demo"""
    from recorder.demo import run_demo

    return run_demo(keep, browser=not no_browser)
