"""Mask what must not leave the machine in an archive for support: configuration, log, metrics, incidents, doctor.

As in the log, lists name what is shown, and every value that no list allows is masked.
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from personal import MASK
from recorder.config.model import SECTIONS, TABLES, Settings
from recorder.config.value_readers import Address, Listener, PortRange
from recorder.observe.redaction import FIELDS, Kind, mask, scrub
from storage.audit.incidents import Incident, clean
from storage.timestamps import rfc3339

SHOWN_TEXTS = frozenset(
    "node.name customers.name customers.country directories.customer sign_ins.customer storage.media".split()
)
"""Settings whose text is shown as it is; the log shows these names too."""
SCHEMES = frozenset(("keys.root", "storage.database", "audit.witnesses"))
"""Settings whose value is shown up to the first colon only."""
ADDRESSES = frozenset(("sip.advertise", "media.advertise", "media.bind"))
"""Settings that are shown if they are an IP address."""
KNOWN_PARTS = frozenset(
    "/ etc recorder var lib run tls.crt tls.key admin.crt admin.key sbc-ca.crt root.key dev shm".split()
)
"""Parts of paths that are shown; a path with any other part is masked."""

_LONG = re.compile(r"[0-9]{7}")  # a telephone number has at least this many digits
_LABEL = re.compile(r'([a-z_]+)="([A-Za-z0-9_.:+-]{0,64})"(?:,|\Z)')
_METRIC = re.compile(r"((?:recorder|process|python)_[a-z0-9_]+)(?:\{(.*)\})? (\S{1,32})(?: [0-9]+)?")
_ABOUT = re.compile(r"# (HELP|TYPE) (recorder|process|python)_.*")
_VALUE = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|NaN|[-+]?Inf", re.IGNORECASE)
LABELS = frozenset(
    "result reason method status worker use folder version commit marks le customer implementation major minor "
    "patchlevel generation".split()
)
UNBOUND = frozenset(("commit", "version"))
"""Labels that describe our own build, so that long digits in them are no telephone numbers."""

DETAILED = frozenset("sysctl clock disk swap daemon port firewall certificate sbc".split())
"""First words of the names of checks whose detail holds only figures and addresses of machines."""
UNDETAILED = frozenset(("name", "refused"))
"""Last words of the names of checks whose detail is left out even so."""


# ---- configuration ----
def configuration(settings: Settings) -> dict[str, Any]:
    """Return the configuration without secrets, names of people and free texts; comments are never in it."""
    found: dict[str, Any] = {name: _section(name, getattr(settings, name)) for name in SECTIONS}
    return {**found, **{name: [_section(name, each) for each in getattr(settings, name)] for name in TABLES}}


def _section(section: str, value: Any) -> dict[str, Any]:
    return {
        each.name: _value(f"{section}.{each.name}", getattr(value, each.name)) for each in dataclasses.fields(value)
    }


def _value(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Address | Listener | PortRange | ipaddress.IPv4Network | ipaddress.IPv6Network):
        return str(value)
    if isinstance(value, Path):
        return str(value) if set(value.parts) <= KNOWN_PARTS else MASK
    if isinstance(value, tuple | list):
        return [_value(key, each) for each in value]
    return _text(key, value) if isinstance(value, str) else MASK


def _text(key: str, value: str) -> str:
    if key in SHOWN_TEXTS:
        return value
    if key in SCHEMES:
        scheme, colon, _ = value.partition(":")
        return f"{scheme}:{MASK}" if colon else value
    if key in ADDRESSES:
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            return MASK
    return MASK


# ---- log ----
SENTENCES = frozenset(name for name, kind in FIELDS.items() if kind is Kind.SENTENCE)
"""Fields with sentences for the operator, which may contain file names."""


def log_line(text: str, *, manager: bool = False) -> dict[str, Any]:
    """Return a line of the log, masked; of a line of another program only its length.

    `manager`: the service manager wrote the line.
    """
    begin = text.find("{")
    try:
        line = json.loads(text[begin:]) if 0 <= begin <= len("<7>") else None
    except ValueError:
        line = None
    if isinstance(line, dict) and "event" in line:
        return mask({name: value for name, value in line.items() if name not in SENTENCES})
    return {"event": "manager.said", "text": scrub(text)} if manager else {"event": "another.line", "bytes": len(text)}


# ---- metrics ----
def metrics(page: str) -> Iterable[str]:
    """Yield the lines of a metrics page whose names, labels and values have the shape of ours."""
    return (line for line in page.splitlines() if _ABOUT.fullmatch(line) or _is_sample(line))


def _is_sample(line: str) -> bool:
    found = _METRIC.fullmatch(line)
    return bool(found and _VALUE.fullmatch(found[3]) and _may_be_shown(found[2] or ""))


def _may_be_shown(labels: str) -> bool:
    pairs = _LABEL.findall(labels)
    if ",".join(f'{name}="{value}"' for name, value in pairs) != labels.rstrip(","):
        return False
    return all(name in LABELS and (name in UNBOUND or not _LONG.search(value)) for name, value in pairs)


# ---- incidents ----
def incident(each: Incident, customer: str | None) -> dict[str, Any]:
    """Return an incident, masked."""
    facts = mask({name: clean(value) for name, value in each.facts.items()})
    times = {"first_at": rfc3339(each.first), "last_at": rfc3339(each.last)}
    return {"customer": customer, "kind": clean(each.kind), **times, "count": each.count, **facts}


# ---- doctor ----
def checks(found: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the doctor's checks, without details that may name files, hosts or values of the configuration."""
    return [_check(each) for each in found]


def _check(each: Mapping[str, Any]) -> dict[str, str]:
    name, state = str(each["name"]), str(each["state"])
    first, *rest = name.split(".")
    if first == "start" and rest:
        return {"name": f"start.{mask({'setting': name.partition('.')[2]})['setting']}", "state": state}
    detailed = first in DETAILED and (not rest or rest[-1] not in UNDETAILED)
    if detailed or (first == "database" and state == "ok"):
        return {"name": name, "state": state, "detail": str(each["detail"])}
    return {"name": name, "state": state}
