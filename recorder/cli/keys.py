"""Commands for the life cycle of keys: rotate, backup, restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from recorder.cli import console
from recorder.cli.options import DEFAULT_CONFIG, AsJson, Config
from recorder.config.installation import Installation
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.errors import NotPossible, WrongUse
from storage.files.durable_files import denied


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    help = "Life cycle of the keys.\n\nExample: recorder keys backup --recipient age1… -o keys.age"
    keys = typer.Typer(no_args_is_help=True, help=help, rich_markup_mode=None)
    keys.command("rotate")(rotate)
    keys.command("backup")(backup)
    keys.command("restore")(restore)
    app.add_typer(keys, name="keys")


def rotate(
    old: Annotated[
        str | None, typer.Option("--from", help="The current root secret; default: the configured one.")
    ] = None,
    new: Annotated[
        str | None,
        typer.Option("--to", help="The new one; default: the configured one. A missing file: or pkcs11: key is made."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Seal all keys under another root secret. The daemon must be stopped.

    Example: recorder keys rotate --to file:/etc/recorder/root-2.key
    """
    from recorder.maintenance.key_rotation import make_secret, secret_of
    from recorder.maintenance.key_rotation import rotate as move

    if old is None and new is None:
        raise WrongUse(
            "The command needs both root secrets, the old one and the new one.",
            "Add --to file:PATH; or, if the configuration already names the new one, --from with the old one.",
        )
    settings = load(config, files=False)
    configured = settings.keys.root
    source = new or configured
    with alone(settings):
        before = secret_of(settings, old or configured)
        made = new is not None and make_secret(settings, new, old or configured)
        moved = move(settings, before, secret_of(settings, source))
    if json:
        console.document({"rotated": moved, "root": source, "made": made})
        return 0
    print(f"Sealed under {source}: {', '.join(moved) or 'nothing new, all keys already were'}.")
    if configured.startswith("credential:") and source.startswith("file:"):
        name, path = configured.removeprefix("credential:"), source.removeprefix("file:")
        print(f"Next: make {path} the credential {name} (LoadCredential={name}:{path}), then start the daemon.")
    elif source != configured:
        print(f'Next: write root = "{source}" under [keys] in {config}, then start the daemon.')
    print("Then make a new backup of the keys and destroy the old root secret: it opens nothing that exists now.")
    return 0


def backup(
    recipient: Annotated[list[str], typer.Option("--recipient", "-r", help="age1…; may be repeated.")],
    to: Annotated[Path, typer.Option("-o", "--output", help="File to write; an existing file is not overwritten.")],
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Write keys/ and the root secret to an encrypted file. Only the recipients can open it. The daemon may be running.

    Example: recorder keys backup --recipient age1… -o keys.age
    """
    from recorder.maintenance.key_rotation import backup as write

    names = write(load(config, files=False), recipient, to, int(datetime.now(UTC).timestamp()))
    if json:
        console.document({"file": str(to), "bytes": to.stat().st_size, "customers": names})
        return 0
    print(f"{to}: the keys of {', '.join(names)}, {to.stat().st_size:,} bytes, encrypted.")
    print(
        "It can open whatever is erased from now on: destroy older backups, and this one once you have made the next."
    )
    return 0


def restore(
    file: Annotated[Path, typer.Argument(help="File written by recorder keys backup.")],
    identity: Annotated[Path, typer.Option("--identity", "-i", help="File of age-keygen: AGE-SECRET-KEY-1…")],
    older: Annotated[
        bool, typer.Option("--older", help="Restore even if the data is newer: calls erased since may open again.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="The root secret from now on; default: the configured one. A missing file: is written."
        ),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Restore keys that are lost or do not open. Keys that open are left alone. The daemon must be stopped.

    Example: recorder keys restore keys.age --identity key.txt
    """
    from recorder.maintenance import key_backup
    from recorder.maintenance.key_rotation import restore as bring_back

    settings = load(config, files=False)
    try:
        sealed, lines = file.read_bytes(), identity.read_text("utf-8", "replace")
    except PermissionError as problem:
        raise NotPossible(f"{denied(Path(problem.filename))}.", "Run the command as its owner.") from None
    except OSError as problem:
        raise NotPossible(f"{problem.filename} cannot be read: {problem.strerror}.") from None
    with alone(settings):
        done, kept = bring_back(settings, key_backup.decrypt(sealed, lines), older=older, to=to)
    if json:
        console.document({"restored": done, "kept": kept})
        return 0
    print(f"Restored: {', '.join(done) or 'nothing'}. Opened already: {', '.join(kept) or 'none'}.")
    if done:
        print("Everything erased since, as far as the ledger in keys/ shows, is erased again.")
        print("Next: recorder verify, then start the daemon.")
    return 0


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Keep the daemon from starting meanwhile; raises NotPossible if it is running."""
    from recorder.persist.instance_lock import node_lock
    from recorder.runtime.service_user import acting_as_owner

    settings.node.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        with acting_as_owner(settings.node.data_dir):  # the lock file must belong to the owner
            held = stack.enter_context(node_lock(settings))
        if not held:
            raise NotPossible("The daemon is running.", f"Stop it first: {Installation.of(settings.source).stop}.")
        yield
