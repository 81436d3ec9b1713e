"""Index keys of days, cached until something is erased: a search needs the key of every day that has calls."""

from storage.keys.row_keys import LABEL_INDEX, Keys

MAX_KEYS = 8192  # 22 years; 1 MB


class DayKeys:
    """Caches the index keys of one customer; any cut of the key tree clears the cache."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._generation = -1
        self._known: dict[int, bytes] = {}

    def refresh(self) -> None:
        """Clear the cache if anything was cut since the last call; call this once before using `key` for many days."""
        generation = self.keys.generation
        if generation != self._generation or len(self._known) > MAX_KEYS:
            self._known.clear()
            self._generation = generation

    def key(self, leaf: int) -> bytes:
        """Return the index key of a leaf; raises Forgotten."""
        known = self._known.get(leaf)
        if known is None:
            known = self._known[leaf] = self.keys.secret(leaf, LABEL_INDEX)
        return known
