"""Write the commented example configuration from the documentation of the model's fields."""

from __future__ import annotations

import enum
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from recorder.config.model import SECTIONS, Customer, Directory, SignIn

WIDTH = 110  # columns of a comment line

_HEAD = """\
Configuration of the call recorder. A line that is commented out shows the default or an example.
`recorder check-config` reports every mistake. Never put secrets in this file."""

Changes = Mapping[str, object]  # key path such as sip.listen or customer.name -> value instead of the example's


def render(changes: Changes | None = None) -> str:
    """Return the example as TOML; `changes` sets keys, as `recorder init` and `recorder demo` need."""
    given = dict(changes or {})
    lines = [*_comment(_HEAD), ""]
    for name, kind in SECTIONS.items():
        lines += _section(f"[{name}]", name, kind, given)
    lines += _section("[[customer]]", "customer", Customer, given)
    lines += map(_commented_out, _section("[[directory]]", "directory", Directory, {}))
    lines += map(_commented_out, _section("[[sign_in]]", "sign_in", SignIn, {}))
    if given:
        raise KeyError(f"no such setting: {', '.join(sorted(given))}")
    return "\n".join(lines).rstrip() + "\n"


def _section(header: str, path: str, kind: type[Any], given: dict[str, object]) -> Iterator[str]:
    """Yield one table with its fields."""
    yield from _comment(kind.__doc__ or "")
    yield header
    for item in fields(kind):
        yield from _field(item, given.pop(f"{path}.{item.name}", MISSING))
    yield ""


def _commented_out(line: str) -> str:
    return line if not line or line.startswith("#") else f"# {line}"


def _field(item: Field[Any], change: object) -> Iterator[str]:
    """Yield the documentation of a field and its line, commented out if omitting it means the same."""
    yield from _comment(item.metadata["doc"])
    shown = item.metadata["example"] if item.metadata["example"] is not None else item.default
    value = shown if change is MISSING else change
    if value in (None, ()):
        yield f"# {item.name} = {_POSSIBLE[item.name]}"
    else:
        yield f"{item.name} = {toml(value)}"


_POSSIBLE: Mapping[str, str] = {
    "witnesses": '["file:/mnt/elsewhere/checkpoints.jsonl", "journald"]',
    "client_ca": '"/etc/recorder/sbc-ca.crt"',
    "advertise": '"192.0.2.10"',
    "certificate": '"/etc/recorder/tls.crt"',
    "private_key": '"/etc/recorder/tls.key"',
    "title": '"Acme Ltd"',
    "sources": '["192.0.2.0/24"]',
    "certificates": '["sbc1.acme.example"]',
    "domains": '["acme.rec.example"]',
    "country": '"DE"',
    "digest": '"/etc/recorder/acme.digest"',
    "listen": '"127.0.0.1:9464"',
    "srtp": '"preferred"',
    "secret": '"credential:entra-secret"',
    "secret_expires": "2027-03-31",
    "login": '"https://login.microsoftonline.com"',
    "graph": '"https://graph.microsoft.com"',
    "proxy_ca": '"/etc/recorder/proxy-ca.crt"',
    "address": '"https://rec.example:8443"',
    "client_secret": '"credential:sign-in-secret"',
    "ca": '"/etc/recorder/own-ca.crt"',
    "endpoint": '"https://s3.example"',
    "bucket": '"recordings"',
    "access_key": '"credential:s3-access-key"',
    "secret_key": '"credential:s3-secret-key"',
    "media": '"s3"',
    "region": '"eu-central-1"',
    "prefix": '"acme"',
    "path_style": "true",
    "part_seconds": "60",
    "keep_local": '"1d"',
    "lock": '"governance"',
}


def toml(value: object) -> str:
    """Return a value in TOML; values of the model's own types as their text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, enum.Enum):
        return toml(value.value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml(key)} = {toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(entry) for entry in value) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> Iterator[str]:
    """Yield a text as comment lines, with an empty one between paragraphs."""
    for paragraph in text.strip().split("\n\n"):
        flat = " ".join(paragraph.split())
        yield from textwrap.wrap(
            flat, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
        )


def write(path: Path) -> None:
    """Write the example to a file of the source tree."""
    path.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[2] / "config" / "recorder.toml")
