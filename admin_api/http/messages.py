"""A sentence that is shown in several languages: its English, an id, and the values in it.

    Message("problem.most-bytes", "At most {limit} bytes are accepted.").of(limit=4096)

The API shows the English. The page shows it in the reader's language, by the id in its catalogues
(`page.framework.translations`), whose English may differ from the API's: a person sees a form, not a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

Value = Union[str, int, "Message", tuple[str, ...]]
"""A value in a sentence: a name that the recorder declares, a number, another message, or several of them."""


class Message(str):
    """A sentence in English, or part of one, with its id. Nothing that a client sent may be a value in it."""

    __slots__ = ("id", "values")
    id: str
    """Its id in the page's catalogues."""
    values: Mapping[str, Value]
    """The values, by the names of their placeholders; `n` chooses the plural form."""

    def __new__(cls, id: str, english: str, values: Mapping[str, Value] | None = None) -> Message:
        """Make a message; if there are values, `english` already contains them, as `of` does it."""
        made = super().__new__(cls, english)
        made.id = id
        made.values = values or {}
        return made

    @property
    def stored(self) -> Mapping[str, Any]:
        """Return id and values as JSON, to be stored beside the English."""
        return {"id": self.id, "values": dict(self.values)}

    def of(self, **values: Value) -> Message:
        """Return the message with these values filled in."""
        texts = {name: ", ".join(each) if isinstance(each, tuple) else each for name, each in values.items()}
        return Message(self.id, self.format(**texts), values)
