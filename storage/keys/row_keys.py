"""Labels and context that bind a call's sealed row to its place, and the key methods that sealing needs; pure."""

from typing import Protocol

LABEL_DETAILS = "details"
LABEL_INDEX = "index"


class Keys(Protocol):
    """The methods of a customer's keys that the index needs (storage.keys.key_store.CustomerKeys)."""

    @property
    def generation(self) -> int:
        """Return the number of cuts so far."""
        ...

    def secret(self, leaf: int, label: str) -> bytes:
        """Derive a secret; raises Forgotten."""
        ...

    def seal(self, leaf: int, label: str, plaintext: bytes, context: bytes) -> bytes:
        """Seal a value; raises Forgotten."""
        ...

    def unseal(self, leaf: int, label: str, sealed: bytes, context: bytes) -> bytes:
        """Open a sealed value; raises Forgotten, SealBroken."""
        ...

    def allocate(self, day: int) -> int:
        """Allocate a leaf that was never used before."""
        ...


def context(id: str) -> bytes:
    """Return the context that binds a sealed value to the row of this call."""
    return b"call\0" + id.encode()
