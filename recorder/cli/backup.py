"""Commands for the data directory: backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config
from recorder.cli.progress import watched
from recorder.config.loader import load
from recorder.runtime.service_user import become_owner

KEEP = 7
_ELSEWHERE = "elsewhere"


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    path: Annotated[Path, typer.Argument(help="Folder of the backup, on another disk; made if it is missing.")],
    keep: Annotated[int, typer.Option(min=1, max=10_000, help="Generations to keep; older ones are removed.")] = KEEP,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Back up everything but the keys to a folder. The daemon may be running.

    Copies the recordings that the folder does not have yet, and everything else anew. After a failure, run it again: it
    continues. A backup never contains keys; recorder keys backup writes them to another place.

    Example: recorder backup /mnt/backup/recorder
    """
    from recorder.maintenance.data_backup import back_up

    settings = load(config, files=False)
    become_owner(settings.node.data_dir)
    with watched("backing up") as watch:
        made = back_up(settings, path, keep, watch)
    if json:
        console.document(
            {
                "ok": not made.faults,
                "path": str(path),
                "generation": made.generation,
                "bytes": made.bytes,
                "copied": made.copied,
                "faults": made.faults,
            }
        )
    else:
        print(f"{path}: generation {made.generation}, {made.bytes:,} bytes, of which {made.copied:,} were copied.")
        if settings.storage.database != "sqlite":
            print(
                "The databases are on a server, not in the backup: use pg_dump. The recorder rebuilds a lost database."
            )
    return _end(made.faults, json=json)


def restore(
    path: Annotated[Path, typer.Argument(help="Folder into which recorder backup wrote.")],
    generation: Annotated[int | None, typer.Option(help="Which generation; the newest if omitted.")] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Restore a backup into an empty data directory. The daemon must be stopped; keys/ stays as it is.

    After a failure, run it again: it continues. With today's keys/, what was erased after the backup stays erased.

    Example: recorder restore /mnt/backup/recorder
    """
    from recorder.maintenance.data_backup import bring_back

    settings = load(config, files=False)
    with watched("restoring") as watch:
        found = bring_back(settings, path, generation, watch)
    if json:
        shown: dict[str, Any] = {"ok": not found.faults, "path": str(path), "generation": found.generation}
        console.document({**shown, "bytes": found.bytes, "at": found.at, "faults": found.faults})
    else:
        print(f"{settings.node.data_dir}: generation {found.generation} of {found.at[:19]}Z, {found.bytes:,} bytes.")
        if found.database == _ELSEWHERE:
            print("The backup has no databases: restore dumps that are not newer, or drop them: they are then rebuilt.")
        print("Next: recorder keys restore if keys/ is lost, start the daemon, then recorder verify.")
    return _end(found.faults, json=json)


def _end(faults: list[str], *, json: bool) -> int:
    """Print what went wrong, and return the exit status."""
    for fault in () if json else faults:
        console.say(console.plain(fault) + ".")
    return 1 if faults else 0
