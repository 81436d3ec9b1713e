"""Read users from a CSV file: one person on each line, columns named in the first line; pure."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from itertools import islice

from recorder.errors import WrongUse
from storage.directory.user import SEVERAL, SINGLE, Person

MAX_BYTES = 256 << 20  # a million people with everything
MAX_FIELD = 2000  # characters; the longest e-mail address has 254
ALIASES = {
    "givenname": "first_name",
    "firstname": "first_name",
    "surname": "last_name",
    "lastname": "last_name",
    "samaccountname": "account_name",
    "onpremisessamaccountname": "account_name",
    "accountname": "account_name",
    "mail": "email",
    "emailaddress": "email",
    "userprincipalname": "upn",
    "id": "object_id",
    "objectid": "object_id",
    "phone": "numbers",
    "phones": "numbers",
    "number": "numbers",
    "telephonenumber": "numbers",
    "businessphones": "numbers",
    "mobilephone": "numbers",
    "mobile": "numbers",
    "proxyaddresses": "addresses",
    "sip": "addresses",
    "sipaddress": "addresses",
}
"""Column names as directories export them, without punctuation and in lower case."""

_SEPARATORS = re.compile(r"[;|\n]")  # between several values of one field; a comma may be part of a number's extension
_EXCEL = re.compile(r"sep=.\r?\n?")  # a first line that only Excel reads
_SCHEME = re.compile(r"(smtp|x500|eum):", re.IGNORECASE)  # kinds of proxyAddresses; sip: is kept as a scheme


def read(data: bytes) -> list[Person]:
    """Read a file; raises WrongUse, which names the line."""
    if len(data) > MAX_BYTES:
        raise WrongUse(f"The file has more than {MAX_BYTES >> 20} MiB.", "Import it in parts with --partial.")
    text = _decoded(data)
    hint = _EXCEL.match(text)
    first = re.split(r"[\r\n]", text[hint.end() if hint else 0 :], maxsplit=1)[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = _heading(next(islice(lines, 1 if hint else 0, None), []))
        filled = ((lines.line_num, fields) for fields in lines if any(field.strip() for field in fields))
        found = {line: _person(names, fields, line) for line, fields in filled}
    except csv.Error:
        raise WrongUse(f"Line {lines.line_num} is not CSV.", "Fields with quotes or line breaks need quotes.") from None
    return _each_once(found)


def _decoded(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 as spreadsheet programs save "Unicode text"; raises WrongUse."""
    try:
        return data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError:
        raise WrongUse("The file is not UTF-8.", "Save it as CSV UTF-8.") from None


def _each_once(found: Mapping[int, Person]) -> list[Person]:
    """Return all people; raises WrongUse if two lines contradict each other about one person."""
    seen: dict[str, int] = {}
    for line, person in found.items():
        before = seen.setdefault(person.key, line)
        if found[before] != person:
            raise WrongUse(f"Lines {before} and {line} say different things about one person.", "Remove one of them.")
    return [found[line] for line in seen.values()]


def _heading(fields: Sequence[str]) -> list[str | None]:
    """Return which member each column holds, None for columns that are ignored."""
    names: list[str | None] = []
    for field in fields:
        plain = re.sub(r"[^a-z0-9]", "", field.casefold())
        known = {name.replace("_", ""): name for name in (*SINGLE, *SEVERAL)} | ALIASES
        names.append(known.get(plain))
    single = [name for name in names if name in SINGLE]
    if not {"object_id", "upn", "email", "account_name"} & set(single):
        raise WrongUse(
            "The first line names no column that identifies people.",
            f"Name the columns {', '.join((*SINGLE, *SEVERAL))}; one of object_id, upn, email, account_name is needed.",
        )
    if len(set(single)) < len(single):
        raise WrongUse("The first line names a column twice.", "Remove one of them.")
    return names


def _person(names: Sequence[str | None], fields: Sequence[str], line: int) -> Person:
    if len(fields) > len(names):
        raise WrongUse(f"Line {line} has more fields than the first line.", "Fields with commas need quotes.")
    single: dict[str, str] = {}
    several: dict[str, list[str]] = {name: [] for name in SEVERAL}
    for name, field in zip(names, fields, strict=False):
        if len(field) > MAX_FIELD:
            raise WrongUse(f"A field of line {line} has more than {MAX_FIELD} characters.", "Is a quote missing?")
        if name in SINGLE:
            single[name] = field.strip()
        elif name in SEVERAL:
            several[name] += [_SCHEME.sub("", value.strip()) for value in _SEPARATORS.split(field) if value.strip()]
    numbers, addresses = (tuple(dict.fromkeys(several[name])) for name in SEVERAL)
    person = Person(**single, numbers=numbers, addresses=addresses)
    if not person.key:
        raise WrongUse(f"Line {line} names nobody: object_id, upn, email and account_name are empty.", "Fill one in.")
    return person
