"""What a node is known by in the database of a customer. Loads no database, so that a start can have it at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node is known by in one database."""

    customer: str
    """Name of the customer."""
    number: int
    """Number of the node; 0 if it is the only one."""
    name: str
    """Name of the node."""
    instance: str
    """Random id of this boot of this machine, "" if no daemon ran since."""
    tree: str
    """Fingerprint of the key tree, 32 hexadecimal digits."""

    @property
    def several(self) -> bool:
        """Return whether it shares the database with other nodes."""
        return self.number > 0

    def __str__(self) -> str:
        """Name it for people."""
        return f"node {self.name}, number {self.number}"
