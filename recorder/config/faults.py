"""What is wrong with a configuration, said so that it can be mended: key, line, what is there, what would be right."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from recorder.errors import WrongUse

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*=")
_AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a configuration."""

    key: str  # path such as sip.listen[0] or customer[1].name; empty: the file as a whole
    found: str  # what is there; empty where it does not help or must not be shown
    right: str  # what would be right
    line: int | None = None  # line of the file, from 1, if known

    def at(self, lines: Mapping[str, int]) -> Fault:
        """Return the fault with the line of its key, or of the nearest table above it."""
        if self.line is not None:
            return self
        key = self.key
        while key and key not in lines:
            key = key[: key.rindex("[")] if key.endswith("]") else key.rpartition(".")[0]
        return replace(self, line=lines.get(key))

    def __str__(self) -> str:
        where = self.key or "file"
        line = f" (line {self.line})" if self.line else ""
        found = f"found {self.found}; " if self.found else ""
        return f"{where}{line}: {found}{self._advice()}"

    def _advice(self) -> str:
        """Return what to do as part of a sentence."""
        bare = self.right.startswith(("no ", "this ", "needs ", "the same "))
        return self.right if bare else f"should be {self.right}"


class SettingsError(WrongUse):
    """The configuration cannot be used; `faults` says all that is wrong with it."""

    def __init__(self, faults: tuple[Fault, ...], source: str = "the configuration") -> None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{source} has {count}: " + "; ".join(str(fault) for fault in faults))
        self.faults = faults
        self.source = source

    def sentence(self) -> str:
        """Return the faults for a terminal, one on a line."""
        head, *rest = str(self).split(": ", 1)
        return f"{head}:\n" + "\n".join(f"  {fault}" for fault in self.faults) if rest else head


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" for a misspelt word, or nothing."""
    import difflib  # only a faulty file pays for it

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
    """Return the line of every table and key, as far as lines tell: values over several lines count at their first."""
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
