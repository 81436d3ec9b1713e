"""Edit the customers of a configuration file, leaving comments and layout of everything else as they are.

    after = add(before, {"name": "acme", "sources": ["192.0.2.0/24"]})      text in, text out
    after = change(before, "acme", "state", "closed")
    after = remove(before, "acme")
    write(path, before, after)                                              owner and mode stay

An edit changes lines. It only counts if the file, as tomllib reads it, then has its previous contents and the change.
So a file that is written in an unknown way is refused, never damaged.
"""

from __future__ import annotations

import copy
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recorder.config.template import toml
from recorder.errors import NotPossible, WrongUse

CUSTOMER = "customer"
OWNED = ("directory", "sign_in")
"""Tables that belong to the customer named by their key `customer`."""

_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(?:#.*)?")
_VALUE = re.compile(
    r"""(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'#\[{][^\s#]*)(?P<comment>\s*(?:#.*)?)"""  # on one line, not a list
)


def read(path: Path) -> str:
    """Return the text of a configuration, with its own line ends."""
    return path.read_bytes().decode("utf-8-sig")


def add(text: str, values: Mapping[str, object]) -> str:
    """Add a customer at the end of the file; raises WrongUse if it cannot be done by lines."""
    end = _line_end(text)
    lines = [*text.splitlines(keepends=True)]
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    if lines and lines[-1].strip():
        lines.append(end)
    lines += [f"[[{CUSTOMER}]]{end}", *(f"{key} = {toml(value)}{end}" for key, value in values.items())]
    wanted = _document(text)
    table = tomllib.loads("\n".join(f"{key} = {toml(value)}" for key, value in values.items()))
    wanted.setdefault(CUSTOMER, []).append(table)
    return _checked("".join(lines), wanted, f"a [[{CUSTOMER}]] table for {values['name']}")


def change(text: str, name: str, key: str, value: str) -> str:
    """Set a text in the table of a customer that is there; raises WrongUse if it cannot be done by lines."""
    lines, wanted = text.splitlines(keepends=True), _document(text)
    index = _index(wanted, name)
    setting = f"{key} = {toml(value)}"
    start, stop = _places(lines, CUSTOMER, wanted)[index]
    at = _line_of(lines, range(start + 1, stop), key)
    if at is not None:
        head, _, old = lines[at].partition("=")
        found = _VALUE.fullmatch(old.strip())
        if not found:
            raise _unknown(f"{setting} in the table of {name}")
        lines[at] = f"{head}= {toml(value)}{found['comment']}{_line_end(lines[at])}"
    else:
        example = _line_of(lines, range(start + 1, stop), f"#\\s*{key}")
        below = example if example is not None else _line_of(lines, range(start + 1, stop), "name")
        below = start if below is None else below
        lines.insert(below + 1, f"{setting}{_line_end(text)}")
    wanted[CUSTOMER][index][key] = value
    return _checked("".join(lines), wanted, f"{setting} in the table of {name}")


def remove(text: str, name: str) -> str:
    """Remove a customer with its directory and its ways to sign in; raises WrongUse if it cannot be done by lines."""
    lines, wanted = text.splitlines(keepends=True), _document(text)
    gone = [_extent(lines, *_places(lines, CUSTOMER, wanted)[_index(wanted, name)])]
    del wanted[CUSTOMER][_index(wanted, name)]
    for kind in OWNED:
        tables = wanted.get(kind, [])
        places = _places(lines, kind, wanted)
        gone += [_extent(lines, *places[i]) for i, each in enumerate(tables) if each.get("customer") == name]
        if tables:
            wanted[kind] = [each for each in tables if each.get("customer") != name]
            if not wanted[kind]:
                del wanted[kind]
    if not wanted[CUSTOMER]:
        del wanted[CUSTOMER]
    for start, stop in sorted(gone, reverse=True):
        del lines[start:stop]
    return _checked("".join(lines), wanted, f"the file without the tables of {name}")


def write(path: Path, before: str, after: str) -> None:
    """Replace a configuration that still says `before`; it keeps its owner and mode. Raises NotPossible."""
    place = path.resolve()
    try:
        if read(place) != before:
            raise NotPossible(f"{path} has changed meanwhile.", "Try again.")
        found = place.stat()
        mark = b"\xef\xbb\xbf" if place.read_bytes().startswith(b"\xef\xbb\xbf") else b""
        fd, draft = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        try:
            with open(fd, "wb") as file:
                file.write(mark + after.encode())
                file.flush()
                if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), found.st_uid, found.st_gid)
                os.fchmod(file.fileno(), found.st_mode & 0o7777)
                os.fsync(file.fileno())
            Path(draft).replace(place)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        _sync_folder(place.parent)
    except OSError as problem:
        reason = os.strerror(problem.errno or 0)
        raise NotPossible(
            f"{path} cannot be replaced: {reason}.", "Run the command as the file's owner: sudo recorderctl …"
        ) from None


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _document(text: str) -> dict[str, Any]:
    return copy.deepcopy(tomllib.loads(text))


def _checked(text: str, wanted: Mapping[str, Any], what: str) -> str:
    """Return a text that has the wanted contents; raise WrongUse for any other."""
    try:
        if tomllib.loads(text) == wanted:
            return text
    except tomllib.TOMLDecodeError:
        pass
    raise _unknown(what)


def _unknown(what: str) -> WrongUse:
    return WrongUse(
        "The configuration is written in a way that this command cannot edit.", f"Write it yourself: {what}."
    )


def _index(document: Mapping[str, Any], name: str) -> int:
    return next(i for i, each in enumerate(document[CUSTOMER]) if each.get("name") == name)


def _places(lines: Sequence[str], kind: str, document: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the first line of each table of a kind, and the line after its last; raises WrongUse if one has none."""
    headers = [(i, found[1]) for i, line in enumerate(lines) if (found := _HEADER.fullmatch(line.rstrip("\r\n")))]
    ours = [i for i, name in headers if name == kind]
    others = [i for i, name in headers if not name.startswith(f"{kind}.")]
    if len(ours) != len(document.get(kind, [])):
        raise _unknown(f"the change of [[{kind}]]")
    return [(start, next((i for i in others if i > start), len(lines))) for start in ours]


def _line_of(lines: Sequence[str], among: range, key: str) -> int | None:
    return next((i for i in among if re.match(rf"\s*{key}\s*=", lines[i])), None)


def _extent(lines: Sequence[str], start: int, stop: int) -> tuple[int, int]:
    """Leave out what follows the last value of a table: comments there belong to the next one."""
    last = max(i for i in range(start, stop) if lines[i].strip() and not lines[i].lstrip().startswith("#"))
    after = last + 1
    while after < stop and not lines[after].strip():
        after += 1
    return start, after


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
