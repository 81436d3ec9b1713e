"""What a sealed row of a call is bound to (labels, context), and what sealing needs of the keys; pure."""

from typing import Protocol

LABEL_DETAILS = "details"
LABEL_INDEX = "index"


class Keys(Protocol):
    """What the index needs of a customer's keys (storage.keys.key_store.CustomerKeys)."""

    @property
    def generation(self) -> int:
        """Number of cuts so far."""
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
        """Return a leaf that was never allocated before."""
        ...


def context(id: str) -> bytes:
    """Return the context that binds a sealed value to the row of this call."""
    return b"call\0" + id.encode()
