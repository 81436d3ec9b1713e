"""Search tokens, which the index stores instead of names and numbers.

A token is the first 64 bits of HMAC-SHA-256(index key of the day, form), as a signed integer, because both databases
store it in eight bytes. Without the day's key it reveals nothing. The key belongs to a leaf of the customer's key
tree, so cutting the leaf makes the tokens useless in every copy. 64 bits are enough although a search probes thousands
of days: every hit is checked against the sealed forms of the call.
"""

from collections.abc import Iterable
from struct import Struct

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

_TOKEN = Struct(">q")  # the largest integer that SQLite and PostgreSQL index natively


def token(key: bytes, form: str) -> int:
    """Return the token of one form under the index key of a day."""
    return _of(HMAC(key, SHA256()), form)


def tokens(key: bytes, forms: Iterable[str]) -> tuple[int, ...]:
    """Return the tokens of the forms, each once, sorted so that their order reveals nothing."""
    keyed = HMAC(key, SHA256())  # setting the key again for each form would take longer than everything else
    return tuple(sorted({_of(keyed.copy(), form) for form in forms}))


def _of(keyed: HMAC, form: str) -> int:
    keyed.update(form.encode("utf-8", "surrogatepass"))  # text from outside may contain lone surrogates
    found: int = _TOKEN.unpack_from(keyed.finalize())[0]
    return found
