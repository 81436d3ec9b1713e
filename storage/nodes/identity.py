"""The identity of a node in a customer's database; imports no database code, so that a start loads it at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a node in one database."""

    customer: str
    """Name of the customer."""
    number: int
    """Number of the node; 0 if it is the only one."""
    name: str
    """Name of the node."""
    instance: str
    """Random id of this boot of this machine, "" if no daemon has run since."""
    tree: str
    """Fingerprint of the key tree, 32 hexadecimal digits."""

    @property
    def several(self) -> bool:
        """Return whether the node shares the database with other nodes."""
        return self.number > 0

    def __str__(self) -> str:
        """Return the node's name as messages show it."""
        return f"node {self.name}, number {self.number}"
