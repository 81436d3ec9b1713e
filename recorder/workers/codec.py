"""How messages between main and a media worker travel: as one datagram each.

What main says travels in the interpreter's own form (recorder.workers.marshalled): both ends are one build, and a
worker believes main anyhow. What a worker says is JSON: it reads what outsiders send, so main does not trust its bytes.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from media.spec import Dtls, StreamSpec
from recorder.errors import RecorderError
from recorder.workers.marshalled import Marshalled
from recorder.workers.messages import (
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


# ---- what a worker may say ----
# Texts that an offer brought, such as the name of an encoding, are as long as a message lets them be: a worker that is
# well must never be taken for one that was broken into.
#: Numbers are of 64 bits; times without an end are 2^63 and more.
_MOST = 1 << 64
#: Characters of an id, of a suite; bytes of keys.
_WORD = 64
_PART = re.compile(r"m\d{1,6}")
#: Why a handshake came to nothing: a label of a metric.
_REASONS = frozenset(("timeout", "handshake", "fingerprint", "profile"))


def _count(value: Any) -> bool:
    return type(value) is int and -_MOST <= value < _MOST


def _share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _flag(value: Any) -> bool:
    return type(value) is bool


def _word(value: Any) -> bool:
    return type(value) is str and len(value) <= _WORD


def _text(value: Any) -> bool:
    return type(value) is str


def _text_or_none(value: Any) -> bool:
    return value is None or type(value) is str


def _part(value: Any) -> bool:
    return type(value) is str and _PART.fullmatch(value) is not None


def _parts(value: Any) -> bool:
    """Tell whether these are names of parts with their lengths; None: the spool was lost."""
    return type(value) is tuple and all(
        type(each) is tuple and len(each) == 2 and _part(each[0]) and (each[1] is None or _count(each[1]))
        for each in value
    )


def _key(value: Any) -> bool:
    return type(value) is bytes and len(value) <= _WORD


def _fingerprints(value: Any) -> bool:
    return type(value) is tuple and all(map(_text, value))


def _gaps(value: Any) -> bool:
    return type(value) is tuple and all(
        type(gap) is tuple and len(gap) == 3 and _count(gap[0]) and _count(gap[1]) and _word(gap[2]) for gap in value
    )


def _sources(value: Any) -> bool:
    return type(value) is tuple and all(
        type(source) is tuple and len(source) == 3 and all(map(_count, source)) for source in value
    )


def _number(value: Any) -> bool:
    """Tell whether this is a number, or that none is known."""
    kind = type(value)
    return value is None or (kind is int and -_MOST <= value < _MOST) or (kind is float and math.isfinite(value))


#: Figures that are no numbers (media.stream.report).
_FIGURES: Mapping[str, Callable[[Any], bool]] = {
    "stream": _count, "codec": _text_or_none, "srtp": _text_or_none, "gaps": _gaps, "sources": _sources,
}  # fmt: skip


def _figures(value: Any) -> bool:
    return type(value) is tuple and all(
        type(each) is dict and "stream" in each and all(_FIGURES.get(name, _number)(it) for name, it in each.items())
        for each in value
    )


#: By class: what each field must be. A worker that was broken into says anything, and what it says reaches the metrics,
#: the documents of calls and the choice of who gets the next one.
_SAYS: Mapping[type, Mapping[str, Callable[[Any], bool]]] = {
    Beat: {"busy": _share},
    Figures: {"call": _word, "token": _count, "figures": _figures},
    Final: {
        "call": _word, "part": _part, "committed": _count, "parts": _parts, "figures": _figures, "clean": _flag,
    },
    Resumed: {"call": _word, "part": _part, "parts": _parts},
    DiskTrouble: {"call": _word, "errno": _count},
    DiskWell: {"call": _word},
    CallFault: {"call": _word, "where": _text},
    Strangers: {"call": _word, "stream": _count, "rejected": _count, "foreign": _count},
    Keyed: {
        "call": _word, "stream": _count, "rtcp": _flag, "suite": _word, "theirs": _key, "ours": _key,
        "fingerprints": _fingerprints,
    },
    Unkeyed: {"call": _word, "stream": _count, "reason": _REASONS.__contains__},
    Severed: {"call": _word, "stream": _count},
}  # fmt: skip


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
        calls = {call: tuple(map(Counts._make, counts)) for call, counts in dict(raw["calls"]).items()}
        numbers = [number for counts in calls.values() for each in counts for number in each]
        if numbers and not (set(map(type, numbers)) == {int} and min(numbers) >= -_MOST and max(numbers) < _MOST):
            raise ValueError
        return Stats(calls)
    kind = CLASSES[raw.pop("$t")]
    said = kind(**{name: value if type(value) in _PLAIN else _held(value) for name, value in raw.items()})
    if not all(fits(getattr(said, name)) for name, fits in _SAYS[kind].items()):
        raise ValueError
    return said


def _held(value: Any) -> Any:
    """Give a value in another: lists as tuples, bytes as they were."""
    if type(value) is list:
        return tuple([each if type(each) in _PLAIN else _held(each) for each in value])
    if type(value) is not dict:
        return value
    if "$b" in value:
        return base64.b64decode(value["$b"])
    return {name: each if type(each) in _PLAIN else _held(each) for name, each in value.items()}
