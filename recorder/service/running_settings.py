"""What a reload changes: the configuration with which the running daemon was started, compared with the file.

`systemctl reload` hands over to another process, which reads the whole file, so nearly everything takes effect without
ending a call. The exceptions: live calls are in `data_dir` and `runtime_dir`, and their SBCs send to the listeners that
they know. A change of these needs a stop, which ends the calls in order, and a start.

At its start a daemon leaves digests of all values in `runtime_dir`. They are enough to find what has changed, and a
secret that was put into the file by mistake cannot be read from them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from recorder.config.model import SECTIONS, Settings
from recorder.config.template import toml

NOTED = "configuration"
"""File in the runtime directory: the digests, as JSON."""

LIVE = "live"
"""Folder of the live calls in the runtime directory of every daemon that runs (recorder.persist.checkpoint)."""

PLACES = ("node.data_dir", "node.runtime_dir")
LISTENERS = "sip.listen"

Digests = Mapping[str, Mapping[str, list[str]]]
"""By section or table, such as `sip` or `customer.acme`, and by key: the digest of a value, or those of its entries."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences from the configuration with which the running daemon was started."""

    changed: tuple[str, ...]
    """Keys, and tables that are new or gone; sorted."""
    needs_restart: tuple[str, ...]
    """Those that a reload cannot take without losing live calls."""


def note(settings: Settings) -> None:
    """Write the digests for `changes`. A full disk prevents that but does not stop the start."""
    path = settings.node.runtime_dir / NOTED
    with suppress(OSError):
        draft = path.with_suffix(".new")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            json.dump(_digests(settings), file)
        draft.replace(path)


def runs_in(runtime_dir: Path) -> bool:
    """Return whether a daemon has this runtime directory, or had it last."""
    return (runtime_dir / LIVE).is_dir()


def changes(settings: Settings) -> Changes:
    """Compare with the running daemon; a daemon of an earlier version, which left no digests, differs in nothing."""
    if not runs_in(settings.node.runtime_dir):
        return Changes(("node.runtime_dir",), ("node.runtime_dir",))
    before, after = _noted(settings.node.runtime_dir), _digests(settings)
    if before is None:
        return Changes((), ())
    changed = sorted(_changed(before, after))
    stop = [key for key in changed if key in PLACES]
    if LISTENERS in changed and set(before["sip"]["listen"]) - set(after["sip"]["listen"]):
        stop.append(LISTENERS)
    return Changes(tuple(changed), tuple(stop))


def _changed(before: Digests, after: Digests) -> Iterator[str]:
    yield from set(before) ^ set(after)
    for table in set(before) & set(after):
        for key in set(before[table]) & set(after[table]):  # another version may have other keys
            if before[table][key] != after[table][key]:
                yield f"{table}.{key}"


def _digests(settings: Settings) -> Digests:
    out = {name: _table(getattr(settings, name)) for name in SECTIONS}
    out |= {f"customer.{each.name}": _table(each) for each in settings.customers}
    out |= {f"directory.{each.customer}": _table(each) for each in settings.directories}
    for number, sign_in in enumerate(settings.sign_ins):
        earlier = sum(each.customer == sign_in.customer for each in settings.sign_ins[:number])
        out[f"sign_in.{sign_in.customer}[{earlier}]"] = _table(sign_in)
    return out


def _table(table: Any) -> dict[str, list[str]]:
    return {item.name: [_digest(each) for each in _entries(getattr(table, item.name))] for item in fields(table)}


def _entries(value: object) -> Iterable[object]:
    return value if isinstance(value, tuple) else (value,)


def _digest(value: object) -> str:
    return hashlib.sha256(toml(value).encode()).hexdigest()[:32]


def _noted(runtime_dir: Path) -> Digests | None:
    """Read what a daemon left; None if there is nothing of the kind."""
    try:
        found = json.loads((runtime_dir / NOTED).read_bytes())
        found["sip"]["listen"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None
