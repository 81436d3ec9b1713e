"""The commands of a document, run in its order and exactly as printed.

A fenced block of `sh` is one script. Two marks in a document are for the test as well as for the reader:

- `prints "TEXT"` in a comment: the block prints TEXT; `…` in it stands for anything. `status N` in the comment of a
  line: that line ends with this status. Every other line must end with 0.
- `<!-- not run: REASON -->` before a block: no test runs it. Each of them is listed when the document is run.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PROGRAMS = ("recorder", "recorderctl")
MOST_NOT_RUN = 8
"""Limit for one document; most commands that cannot run here can be rewritten so that they can."""
_FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>[\w-]*)[^\n]*\n(?P<text>.*?)^ *```$", re.M | re.S)
_NOT_RUN = re.compile(r"<!-- not run: ((?:(?!-->).)+?) -->\s*\Z", re.S)
_PRINTS = re.compile(r'prints "([^"\n]*)"')
_STATUS = re.compile(r"^([^#\n]*[^#\s])(\s+#.*\bstatus (\d+)\b.*)$", re.M)
_INLINE = re.compile(r"(?<!`)`((?:recorder|recorderctl) [^`]+)`(?!`)")
_ENDS = re.compile(r"\s(?:;|\||\|\||&&|&|>\S*|2>\S*|#)(?=\s|$)|;(?=\s|$)")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    document: str
    line: int
    section: str
    """The heading above it."""
    kind: str
    """`sh`, `console`, `toml`, …"""
    text: str
    not_run: str | None
    """Why no test runs it."""

    def __str__(self) -> str:
        """Return its place in the document."""
        return f"{self.document}:{self.line} ({self.section})"

    @property
    def promises(self) -> list[str]:
        """The texts that it promises to print, as regular expressions."""
        return [".*".join(map(re.escape, each.split("…"))) for each in _PRINTS.findall(self.text)]

    def script(self, values: Mapping[str, str]) -> str:
        """Return the script for the shell: the text, with values for the words that a reader replaces as well."""
        text = _STATUS.sub(r"{ \1; } && exit 99 || [ $? = \3 ]\2", self.text)
        for word, value in values.items():
            text = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", value.replace("\\", r"\\"), text)
        return text


def blocks(document: str, kinds: tuple[str, ...] = ("sh",)) -> list[Block]:
    """Return the blocks of a document, by its path in the project, in their order."""
    text = (PROJECT / document).read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        if match["kind"] not in kinds:
            continue
        before = text[: match.start()]
        headings = re.findall(r"^#+ (.+)$|^\*\*(\d+)\. ", _FENCE.sub("", before), re.M)
        reason = _NOT_RUN.search(before)
        section = (headings[-1][0] or headings[-1][1]) if headings else ""
        lines = [line.removeprefix(match["indent"]) for line in match["text"].splitlines(keepends=True)]
        found.append(
            Block(document, before.count("\n") + 1, section, match["kind"], "".join(lines), reason and reason[1])
        )
    return found


def commands(document: str) -> Iterator[tuple[str, list[str]]]:
    """Yield line and words of every `recorder` and `recorderctl` command in the blocks and the text of a document."""
    for block in blocks(document, ("sh", "console")):
        for line in block.text.replace("\\\n", " ").splitlines():
            yield from ((line, words) for words in _words(line.removeprefix("$ ")))
    text = _FENCE.sub("", (PROJECT / document).read_text(encoding="utf-8"))
    for line in _INLINE.findall(text):
        yield from ((line, words) for words in _words(" ".join(line.split())))


def _words(line: str) -> Iterator[list[str]]:
    for each in _ENDS.split(line):
        try:
            words = shlex.split(each, comments=True)
        except ValueError:  # a quotation mark without its counterpart
            words = each.split()
        if words and words[0] in PROGRAMS:
            yield words


Shell = Callable[[str], tuple[int, str]]
"""Runs a script; returns its status and what it printed."""
Facts = Mapping[str, Callable[[], AbstractContextManager[Shell | None]]]
"""Context managers by section, around all its blocks; one may yield another shell to run them in."""


def run(document: str, shell: Shell, facts: Facts | None = None, values: Mapping[str, str] | None = None) -> list[str]:
    """Run all blocks of a document in its order; return the output of each. `facts` may add to `values`."""
    found = blocks(document)
    skipped = [block for block in found if block.not_run]
    for block in skipped:
        print(f"not run: {block}: {block.not_run}")
    assert len(skipped) <= MOST_NOT_RUN, f"{document}: {len(skipped)} blocks are not run"
    printed = []
    for section, members in itertools.groupby(found, lambda block: block.section):
        with (facts or {}).get(section, nullcontext)() as other:
            printed += [_run(block, other or shell, values or {}) for block in members if not block.not_run]
    assert printed, f"{document} has no commands"
    return printed


def _run(block: Block, shell: Shell, values: Mapping[str, str]) -> str:
    script = block.script(values)
    status, output = shell(script)
    assert status == 0, f"{block} ends with {status}:\n{script}\n{output}"
    for promise in block.promises:
        assert re.search(promise, output), f"{block} does not print {promise!r}:\n{script}\n{output}"
    return output
