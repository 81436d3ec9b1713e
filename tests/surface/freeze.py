"""Show what has changed of the visible surface, or keep it as it is now.

python -m tests.surface.freeze             name the changes
python -m tests.surface.freeze --write     keep what is seen now, on purpose
python -m tests.surface.freeze --state     make the kept data and live call anew, too
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.surface import formats, kept, looks, sources
from tests.surface.process import daemon, every_help
from tests.surface.visit import Visit, visit

FROZEN = Path(__file__).with_name("frozen")
STATE = FROZEN / "state.json"


def frozen(name: str) -> Any:
    """Read one sheet of what is kept."""
    return looks.stored(FROZEN / f"{name}.json")


@cache
def seen() -> Visit:
    """Serve the kept data, once."""
    with tempfile.TemporaryDirectory(prefix="surface-") as folder:
        return visit(looks.stored(STATE), Path(folder))


def _configuration() -> dict[str, Any]:
    example = (sources.ROOT / "config" / "recorder.toml").read_text()
    return {"example": looks.configuration(example), "defaults": sources.setting_defaults()}


def _log_events() -> dict[str, list[str]]:
    path = FROZEN / "log-events.json"
    return sources.log_events(looks.stored(path) if path.exists() else ())


STILL: dict[str, Callable[[], Any]] = {
    "commands": lambda: looks.commands(every_help()),
    "configuration": _configuration,
    "formats": formats.vectors,
    "log-events": _log_events,
    "metrics": sources.metrics,
    "problems": sources.problems,
}
"""What is found without a daemon."""

LIVE: dict[str, Callable[[], Any]] = {
    "openapi": lambda: seen().openapi,
    "answers": lambda: seen().answers,
    "command-results": lambda: seen().commands,
    "exposition": lambda: seen().metrics,
    "files": lambda: seen().files,
    "logged": lambda: seen().logged,
    "kept": lambda: seen().kept,
}
"""What a daemon shows that goes on with the kept data."""


def main(options: list[str]) -> int:
    """Do what the options say; return the exit status."""
    if "--state" in options:
        folder = kept.fresh(Path(tempfile.gettempdir()) / "surface-state")
        with daemon(folder) as one:
            known = kept.make(one)
            STATE.write_text(looks.text({"known": known, "files": kept.pack(folder)}))
    changed = False
    for name, look in {**STILL, **LIVE}.items():
        path, now = FROZEN / f"{name}.json", look()
        before = looks.stored(path) if path.exists() else None
        for line in looks.differences(before, now) if before is not None else [f"{path.name} is new"]:
            changed = True
            print(f"{name}: {line}")
        if "--write" in options or "--state" in options:
            path.write_text(looks.text(now))
    return int(changed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
