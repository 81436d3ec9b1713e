"""How messages between main and a media worker travel: as one datagram each.

What main says travels in the interpreter's own form (recorder.marshalled): both ends are one build, and a worker
believes main anyhow. What a worker says is JSON: it reads what outsiders send, so main does not trust its bytes.
"""

import base64
import json
from dataclasses import fields
from typing import Any

from media.spec import Dtls, StreamSpec
from recorder.errors import RecorderError
from recorder.marshalled import Marshalled
from recorder.wire import (
    Add,
    Adopt,
    Ask,
    Beat,
    CallFault,
    Change,
    Close,
    Counts,
    DiskTrouble,
    DiskWell,
    Drop,
    Figures,
    Final,
    Keyed,
    Message,
    NewCall,
    NextPart,
    Part,
    Pause,
    Reached,
    Resumed,
    Severed,
    Stats,
    Strangers,
    Unkeyed,
    Unpause,
)

#: A message with all streams and keys of a call of 64 lines has 40 KiB, with DTLS 160 KiB; a batch of figures is cut
#: to stay below.
MAX_MESSAGE = 192 * 1024
#: Streams of an offer must leave room for what Adopt brings beside them: keys and pauses of before.
MAX_OFFERED = MAX_MESSAGE - 32 * 1024
#: Descriptors of one message: the kernel takes 253 (SCM_MAX_FD).
MAX_DESCRIPTORS = 253


class WireError(RecorderError):
    """What came over the control socket is no message, or a message does not fit."""


CLASSES: dict[str, type] = {
    each.__name__: each
    for each in (
        StreamSpec, Dtls, Part, NewCall, Add, Adopt, Change, Pause, Unpause, Reached, Close, Drop, Ask, NextPart,
        Beat, Stats, Figures, Final, Resumed, DiskTrouble, DiskWell, CallFault, Strangers,
        Keyed, Unkeyed, Severed,
    )
}  # fmt: skip
_FIELDS = {each: tuple(item.name for item in fields(each)) for each in CLASSES.values()}


_ORDERS = Marshalled(CLASSES.values())


def command(message: Message) -> bytes:
    """Serialise what main tells a worker; WireError if it is too long."""
    return _fitting(_ORDERS.write(message), MAX_OFFERED if type(message) is Add else MAX_MESSAGE)


def obey(data: bytes | bytearray | memoryview) -> Any:
    """Read what main told; WireError if it is no message."""
    try:
        return _ORDERS.read(data)
    except ValueError:
        raise WireError("not a message of main") from None


def _fitting(data: bytes, limit: int = MAX_MESSAGE) -> bytes:
    if len(data) > limit:
        raise WireError("a message between main and a worker is too long")
    return data


def encode(message: Any) -> bytes:
    """Serialise what a worker tells main; WireError if it is too long."""
    return _fitting(_JSON.encode(message).encode())


def decode(data: bytes | bytearray) -> Any:
    """Read what a worker told; WireError if it is no message."""
    try:
        raw = _PARSER.decode(data.decode())
        if type(raw) is dict:
            return _said(raw)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass  # refused like every other value
    raise WireError("not a message between main and a worker") from None


def _encode(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {"$b": base64.b64encode(value).decode()}
    names = _FIELDS.get(type(value))
    if names is None:
        raise TypeError(type(value).__name__)
    return {"$t": type(value).__name__} | {name: getattr(value, name) for name in names}


_JSON = json.JSONEncoder(default=_encode, separators=(",", ":"))


_PARSER = json.JSONDecoder()
_PLAIN = frozenset({str, int, float, bool, type(None)})


def _said(raw: dict[str, Any]) -> Any:
    """Give the value of a class that "$t" names; KeyError or TypeError if it is none."""
    if raw["$t"] == "Stats":
        return Stats({call: tuple(map(Counts._make, counts)) for call, counts in dict(raw["calls"]).items()})
    kind = CLASSES[raw.pop("$t")]
    return kind(**{name: value if type(value) in _PLAIN else _held(value) for name, value in raw.items()})


def _held(value: Any) -> Any:
    """Give a value in another: lists as tuples, bytes and values of classes as they were."""
    if type(value) is list:
        return tuple([each if type(each) in _PLAIN else _held(each) for each in value])
    if type(value) is not dict:
        return value
    if "$b" in value:
        return base64.b64decode(value["$b"])
    if "$t" in value:
        return _said(value)
    return {name: each if type(each) in _PLAIN else _held(each) for name, each in value.items()}
