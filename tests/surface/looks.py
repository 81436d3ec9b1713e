"""Turn what the recorder shows into values that can be kept and compared: names, types and statuses, no sentences."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

WIDTH = 140
LABELLED = (
    "recorder_calls_total", "recorder_dtls_handshakes_total", "recorder_rtp_packets_total", "recorder_worker_busy_ratio"
)  # fmt: skip
"""Metrics that show their labels in every run."""
_SENTENCES = ("description", "summary")
_TOLD_BY_PROBLEMS = ("title", "detail", "reason")
_OPTION = re.compile(r"^  ((?:-\w, )?--[a-z-]+(?: / --[a-z-]+)?)((?: <[^>]*>)?)(?:\s|$)")
_ARGUMENT = re.compile(r"^  ([a-z]+(?:\.\.\.)?) (<[^ ]+>)")
_KEY = re.compile(r"^(?:# )?([a-z_]+) = (.+)$")
_SECTION = re.compile(r"^(?:# )?(\[+[a-z_]+\]+)$")


def commands(helps: dict[str, str]) -> dict[str, list[str]]:
    """Return each command with its arguments and options: name, type, default, whether required."""
    return {("recorder " + name).strip(): sorted(_parameters(text)) for name, text in sorted(helps.items())}


def _parameters(text: str) -> Iterator[str]:
    """Yield the parameters that a help text lists."""
    entry = ""
    listed = re.split(r"\n(?:Arguments|Options):\n", text)[1:]
    for line in [*"\n\n".join(listed).split("\n"), "end"]:
        starts = _OPTION.match(line) or _ARGUMENT.match(line)
        if entry and (starts or not line.startswith("   ")):
            yield _parameter(entry)
            entry = ""
        entry = line if starts else entry + " " + line.strip() if entry else ""


def _parameter(entry: str) -> str:
    """Return one parameter without its sentence."""
    found = _OPTION.match(entry) or _ARGUMENT.match(entry)
    assert found is not None
    notes = re.findall(r"\[(?:default:|required|[0-9.]+<=)[^]]*\]", entry)
    kind = found[2].strip()
    if "..." in found[1] + kind:
        kind = f"<list[{kind.strip('<.>')}]>"
    elif re.search(r"[0-9]<=x|x>=[0-9]", entry):  # of a number with limits
        kind = kind.replace(">", " range>")
    return " ".join([found[1], kind, *notes]).replace("  ", " ").strip()


def shape(value: Any) -> Any:
    """Return a JSON value with types instead of values; the entries of a list are laid over each other."""
    if isinstance(value, dict):
        return {key: shape(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [reduce(_both, map(shape, value))] if value else []
    if value is None:
        return "null"
    return {bool: "boolean", int: "number", float: "number", str: "string"}[type(value)]


def _both(one: Any, other: Any) -> Any:
    """Return the shape that two shapes fit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _both(one.get(key, "absent"), other.get(key, "absent")) for key in sorted({*one, *other})}
    if isinstance(one, list) and isinstance(other, list):
        return [reduce(_both, [*one, *other])] if one or other else []
    if isinstance(one, str) and isinstance(other, str):
        return "|".join(sorted({*one.split("|"), *other.split("|")}))
    return one if one == other else {"either": [one, other]}


def openapi(document: Any, *, names: bool = False) -> Any:
    """Return the OpenAPI document without its sentences; `names` says that the keys are names of parts of it."""
    if isinstance(document, list):
        return [openapi(entry) for entry in document]
    if not isinstance(document, dict):
        return document
    kept = {}
    for key, value in sorted(document.items()):
        if not names and key in _SENTENCES and isinstance(value, str):
            continue
        if key in ("example", "examples") and not names:
            value = _without_sentences(value)
        kept[key] = openapi(value, names=not names and key in ("properties", "schemas", "parameters", "responses"))
    if "openapi" in kept:
        kept["info"] = {}
    return kept


def _without_sentences(example: Any) -> Any:
    if isinstance(example, dict):
        return {k: _without_sentences(v) for k, v in example.items() if k not in _TOLD_BY_PROBLEMS}
    return [_without_sentences(v) for v in example] if isinstance(example, list) else example


def configuration(example: str) -> dict[str, dict[str, Any]]:
    """Return the sections of the example with their keys; a key that it has only as a comment says so."""
    found: dict[str, dict[str, Any]] = {}
    section = ""
    for line in example.split("\n"):
        if header := _SECTION.match(line):
            section = header[1]
            found[section] = {}
        elif (item := _KEY.match(line)) and section:
            try:
                value = tomllib.loads(f"x = {item[2]}")["x"]
            except tomllib.TOMLDecodeError:
                continue  # a sentence
            optional = line.startswith("#") and section not in ("[[directory]]", "[[sign_in]]")
            kind = type(value).__name__
            shown = value if isinstance(value, bool | int | str | list | dict) else str(value)
            found[section][item[1]] = {"type": kind, "absent, for example" if optional else "is": shown}
    return found


def exposition(text: str) -> dict[str, dict[str, Any]]:
    """Return the metrics of an exposition text with kind and labels; of most, labels show only once they counted."""
    found: dict[str, dict[str, Any]] = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
        if name.endswith("_created"):
            continue
        found[name] = {"kind": kind}
        if name in LABELLED:
            labelled = re.findall(rf"^{name}\{{(.*)\}} ", text, re.M)
            found[name]["labels"] = sorted({label for entry in labelled for label in re.findall(r"(\w+)=", entry)})
    return dict(sorted(found.items()))


def differences(frozen: Any, now: Any, place: str = "") -> Iterator[str]:
    """Say what changed, where, and from what to what."""
    if isinstance(frozen, dict) and isinstance(now, dict):
        for key in sorted({*frozen, *now}):
            where = f"{place} › {key}" if place else str(key)
            if key not in now:
                yield f"{where}: is gone"
            elif key not in frozen:
                yield f"{where}: is new"
            else:
                yield from differences(frozen[key], now[key], where)
    elif isinstance(frozen, list) and isinstance(now, list) and frozen != now:
        gone = [entry for entry in frozen if entry not in now]
        new = [entry for entry in now if entry not in frozen]
        if len(gone) == len(new) == 1:
            yield from differences(gone[0], new[0], f"{place} ›")
        else:
            yield f"{place}: gone {gone}, new {new}" if gone or new else f"{place}: another order"
    elif frozen != now:
        yield f"{place}: was {frozen!r}, is {now!r}"


def stored(path: Path) -> Any:
    """Read frozen data."""
    return json.loads(path.read_text())


def text(value: Any) -> str:
    """Write data so that a change is a line of a diff: what fits into a line stands in one."""
    return "\n".join(_lines(value, 0)) + "\n"


def _lines(value: Any, deep: int, before: str = "", behind: str = "") -> Iterator[str]:
    line = " " * deep + before + json.dumps(value, sort_keys=True, ensure_ascii=False) + behind
    if not value or not isinstance(value, dict | list) or (len(line) <= WIDTH and deep):
        yield line
        return
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    yield " " * deep + before + opened
    entries = sorted(value.items()) if isinstance(value, dict) else [(None, entry) for entry in value]
    for number, (key, entry) in enumerate(entries, 1):
        name = "" if key is None else json.dumps(key, ensure_ascii=False) + ": "
        yield from _lines(entry, deep + 1, name, "," if number < len(entries) else "")
    yield " " * deep + closed + behind
