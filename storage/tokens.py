"""Search tokens: what the index holds instead of names and numbers.

A token is the first 64 bits of HMAC-SHA-256(index key of the day, form), as a signed integer because that is what
both databases store in eight bytes. Without the day's key it says nothing; the key is a leaf of the customer's key
tree, so cutting it blinds the tokens in every copy. 64 bits are enough although a search probes thousands of days:
every hit is checked against the sealed forms of the call.
"""

import hmac
from collections.abc import Iterable
from struct import Struct

_TOKEN = Struct(">q")  # see above; the largest integer that SQLite and PostgreSQL index natively


def token(key: bytes, form: str) -> int:
    """Compute the token of one form under the index key of a day."""
    data = form.encode("utf-8", "surrogatepass")  # names and numbers from outside may hold halves of surrogate pairs
    found: int = _TOKEN.unpack_from(hmac.digest(key, data, "sha256"))[0]
    return found


def tokens(key: bytes, forms: Iterable[str]) -> tuple[int, ...]:
    """Compute the tokens of many forms, each once, in ascending order so that the order tells nothing."""
    return tuple(sorted({token(key, form) for form in forms}))
