"""Parse a configuration: TOML bytes in, the tree of recorder.config.model out, or every fault at once.

This module opens no file; recorder.config.loader does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from recorder.config import consistency
from recorder.config import value_readers as read
from recorder.config.faults import Fault, SettingsError
from recorder.config.model import SECTIONS, TABLES, Settings
from recorder.config.value_readers import Wrong

Section = TypeVar("Section")

MAX_FILE = 1024 * 1024  # bytes; enough for 10,000 customers, too little for a file given by mistake
_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*=")
_AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)")


def parse(data: bytes) -> Settings:
    """Read a configuration; raise SettingsError with all faults, in the order of the file."""
    settings, faults = examine(data)
    if faults:
        raise SettingsError(faults)
    return settings


def examine(data: bytes) -> tuple[Settings, tuple[Fault, ...]]:
    """Read a configuration as far as it can be read, wrong values as their defaults; return also all its faults.

    Raises SettingsError if it is not TOML.
    """
    document, lines = _document(data)
    faults: list[Fault] = []
    sections = {name: _section(kind, document.get(name, {}), name, faults) for name, kind in SECTIONS.items()}
    headers = {_header(kind): member for member, kind in TABLES.items()}
    for key in sorted(set(document) - {*SECTIONS, *headers}):
        faults.append(Fault(key, "", "no such section" + suggestion(key, (*SECTIONS, *headers))))
    tables: dict[str, Any] = {
        member: _tables(TABLES[member], document.get(header, []), header, faults) for header, member in headers.items()
    }
    settings = Settings(**sections, **tables)
    faults += new_ones(consistency.faults(settings), faults)
    return settings, in_order(faults, lines)


def new_ones(more: Iterable[Fault], faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults of keys that have no fault yet: rules saw the default in place of a wrong value."""
    wrong = frozenset(_without_index(fault.key) for fault in faults)
    return [fault for fault in more if wrong.isdisjoint((_without_index(fault.key), fault.key.partition(".")[0]))]


def in_order(faults: Iterable[Fault], lines: Mapping[str, int]) -> tuple[Fault, ...]:
    """Return the faults with their lines, in the order of the file."""
    return tuple(sorted((fault.at(lines) for fault in faults), key=lambda fault: fault.line or 0))


def _header(kind: type[Any]) -> str:
    """Return SignIn as sign_in."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def _without_index(key: str) -> str:
    """Return the key of a list for the key of its entry: a wrong value is not checked against further rules."""
    return key.rpartition("[")[0] if key.endswith("]") and "." in key else key


def _document(data: bytes) -> tuple[dict[str, Any], dict[str, int]]:
    """Decode TOML; also return the line of every key."""
    if len(data) > MAX_FILE:
        raise SettingsError((Fault("", f"{len(data)} bytes", f"a TOML file of at most {MAX_FILE} bytes"),))
    try:
        written = data.decode("utf-8-sig")
        return tomllib.loads(written), key_lines(written)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError((syntax_fault(data, error),)) from None


def _section(kind: type[Section], table: object, path: str, faults: list[Fault]) -> Section:
    """Read one table; report a wrong value and use its default, so that the other rules can be checked."""
    if not isinstance(table, dict):
        faults.append(Fault(path, read.shown(table), f"a table: a line [{path}] and its keys below"))
        table = {}
    declared: dict[str, Field[Any]] = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    values: dict[str, Any] = {}
    for key, item in declared.items():
        if key in table:
            values |= _value(item, table[key], f"{path}.{key}", faults)
        elif item.default is MISSING:
            faults.append(Fault(f"{path}.{key}", "nothing", "this key is required"))
        if item.default is MISSING:
            values.setdefault(key, "")
    for key in sorted(set(table) - set(declared)):
        faults.append(Fault(f"{path}.{key}", "", "no such key" + suggestion(key, declared)))
    return kind(**values)


def _value(item: Field[Any], value: object, path: str, faults: list[Fault]) -> dict[str, Any]:
    """Read one value into a mapping of at most one entry."""
    try:
        return {item.name: item.metadata["read"](value)}
    except Wrong as wrong:
        faults += [Fault(path + at, found or read.shown(value), right) for at, found, right in wrong.places]
        return {} if wrong.partial is None else {item.name: wrong.partial}


def _tables(kind: type[Section], tables: object, name: str, faults: list[Fault]) -> tuple[Section, ...]:
    """Read every table of a kind that may occur several times."""
    if not isinstance(tables, list):
        faults.append(Fault(name, read.shown(tables), f"double brackets: a line [[{name}]] before each"))
        return ()
    return tuple(_section(kind, table, f"{name}[{index}]", faults) for index, table in enumerate(tables))


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" for a misspelt word, or nothing."""
    import difflib  # only a faulty file needs it

    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def syntax_fault(data: bytes, error: UnicodeDecodeError | tomllib.TOMLDecodeError | RecursionError) -> Fault:
    """Return the fault for a file that is not TOML, with its line."""
    if isinstance(error, UnicodeDecodeError):
        return Fault("", "", "text in UTF-8", line=data[: error.start].count(b"\n") + 1)
    if isinstance(error, RecursionError):
        return Fault("", "brackets nested too deeply", "TOML")
    message = str(error)
    place = _AT_LINE.search(message)
    line = int(place[1]) if place else data.count(b"\n") + 1
    return Fault("", "", f"TOML ({_AT_LINE.sub('', message).partition('(at ')[0].strip().lower()})", line=line)


def key_lines(written: str) -> dict[str, int]:
    """Return the line of every table and key, as far as lines show it; for a value over several lines the first one."""
    lines: dict[str, int] = {}
    tables: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(written.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header:
            prefix = header[2]
            if header[1] == "[[":
                tables[prefix] = tables.get(prefix, -1) + 1
                prefix = f"{prefix}[{tables[prefix]}]"
            lines.setdefault(prefix, number)
        elif key := _KEY.match(line):
            lines.setdefault(f"{prefix}.{key[1].strip(chr(34))}".lstrip("."), number)
    return lines
