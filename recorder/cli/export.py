"""`recorder export`: a decrypted copy of one call in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recorder.cli.progress import progress
from recorder.errors import NotPossible, WrongUse
from recorder.exports.render_client import render
from recorder.exports.render_sources import caveat, media_parts, render_streams
from storage.customer.customers import Customer


async def export_call(customer: Customer, call: str, form: str, to: Path) -> dict[str, Any] | None:
    """Write one call to a new file, readable by its owner only; None if this customer has no such call.

    The file gets its name only when it is complete.
    """
    row = await customer.calls.get(call)
    if row is None:
        return None
    if not to.parent.is_dir():
        raise NotPossible(f"There is no folder {to.parent}.", "Make it first, or choose another one.")
    partial = to.with_name(f".{to.name}.{os.getpid()}.partial")
    fd = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        with progress(f"exporting {form}", 1.0) as advance:
            done = 0.0

            def moved(share: float) -> None:
                nonlocal done
                advance(share - done)
                done = share

            async with media_parts(customer, row) as parts:
                report = await render(parts, render_streams(row.details["streams"]), form, fd, moved)
            report["caveat"] = caveat(customer, row, report)
        os.fsync(fd)
        _name(partial, to)
    finally:
        os.close(fd)
        partial.unlink(missing_ok=True)
    return {"call": call, "format": form, "file": str(to), "bytes": to.stat().st_size, **report}


def _name(partial: Path, to: Path) -> None:
    """Rename a complete file to its final name, but never over another file."""
    try:
        os.link(partial, to)
    except FileExistsError:
        raise WrongUse(f"{to} exists already.", "Choose another file.") from None
    except OSError:  # the file system has no hard links
        if to.exists():
            raise WrongUse(f"{to} exists already.", "Choose another file.") from None
        partial.rename(to)
