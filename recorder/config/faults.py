"""Faults of a configuration, with what an operator needs to correct them: key, line, what was found, what is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from recorder.errors import WrongUse


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a configuration."""

    key: str  # path such as sip.listen[0] or customer[1].name; empty: the file as a whole
    found: str  # what the file has; empty if it does not help or must not be shown
    right: str  # what would be right
    line: int | None = None  # line of the file, from 1, if known
    status: int = WrongUse.status  # exit status of a command that finds nothing worse

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
        """Return what to do, as part of a sentence."""
        bare = self.right.startswith(("no ", "this ", "needs ", "the same ", "to correct it: "))
        return self.right if bare else f"should be {self.right}"


class SettingsError(WrongUse):
    """The configuration cannot be used; `faults` lists everything that is wrong with it."""

    def __init__(self, faults: tuple[Fault, ...], source: str = "the configuration") -> None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{source} has {count}: " + "; ".join(str(fault) for fault in faults))
        self.faults = faults
        self.source = source
        self.status = min((fault.status for fault in faults), default=WrongUse.status)

    def sentence(self) -> str:
        """Return the faults for a terminal, one on each line."""
        head, *rest = str(self).split(": ", 1)
        return f"{head}:\n" + "\n".join(f"  {fault}" for fault in self.faults) if rest else head
