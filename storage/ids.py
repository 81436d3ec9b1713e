"""Random ids, and the form of a call's id."""

import re
import uuid
from collections.abc import Callable

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id(random: Callable[[int], bytes]) -> str:
    """Return a random id: a lower-case UUID version 4 (RFC 9562 section 5.4)."""
    return str(uuid.UUID(bytes=random(16), version=4))


def is_id(text: str) -> bool:
    """Return whether a text has the form of an id and so cannot be personal data."""
    return _ID.fullmatch(text) is not None
