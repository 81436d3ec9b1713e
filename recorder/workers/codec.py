"""Encode and decode the messages between main and a media worker: MessagePack, one datagram a message.

Both directions are checked against the annotations in recorder.workers.messages: the type of every field, and for a
worker's messages also lengths, ranges and closed sets. A message of the other direction is refused.
"""

from collections.abc import Sequence
from typing import TypeVar, get_args

from msgspec import MsgspecError, structs
from msgspec.msgpack import Decoder, Encoder

from media.spec import Dtls, StreamSpec
from recorder.errors import RecorderError
from recorder.workers import messages
from recorder.workers.messages import Add, Adopt, Change, Command, Report

M = TypeVar("M")

#: A message with all streams and keys of a call of 64 lines has 50 KiB, with DTLS 175 KiB; a batch of figures is kept
#: below this.
MAX_MESSAGE = 208 * 1024
#: Streams of an offer must leave room for what else Adopt carries: earlier keys and pauses.
MAX_OFFERED = MAX_MESSAGE - 32 * 1024
#: Descriptors of one message: the kernel accepts 253 (SCM_MAX_FD).
MAX_DESCRIPTORS = 253

#: All message types, in the order in which a worker's first message names them.
CLASSES: tuple[type, ...] = (
    StreamSpec, Dtls, messages.Part, messages.NewCall, messages.StreamFigures, messages.Counts,
    *get_args(Command), *get_args(Report),
)  # fmt: skip

_NEW_CALLS = (Add, Adopt)
_ENCODER = Encoder()
_COMMANDS: Decoder[Command] = Decoder(Command)
_REPORTS: Decoder[Report] = Decoder(Report)


class WireError(RecorderError):
    """Raised if data from the control socket are not a message, or a message does not fit."""


def encode(message: Command | Report) -> bytes:
    """Encode a message; raises WireError if it is too long, or holds a number above 64 bits or invalid text."""
    try:
        data = _ENCODER.encode(_with_networks_once(message))
    except (OverflowError, UnicodeEncodeError):
        raise WireError("a message between main and a worker cannot be encoded") from None
    if len(data) > (MAX_OFFERED if type(message) is Add else MAX_MESSAGE):
        raise WireError("a message between main and a worker is too long")
    return data


def decode_command(data: bytes | bytearray | memoryview) -> Command:
    """Read a message of main; WireError if it is none."""
    message = _decoded(_COMMANDS, data)
    command = message.new if isinstance(message, _NEW_CALLS) else message if isinstance(message, Change) else None
    if command is not None and command.networks:
        for stream in command.streams:
            stream.networks = command.networks
    return message


def decode_report(data: bytes | bytearray | memoryview) -> Report:
    """Decode a message from a worker; raises WireError if it is not one."""
    return _decoded(_REPORTS, data)


def _with_networks_once(message: Command | Report) -> Command | Report:
    """Write the customer's networks once, not for each stream: a customer may have thousands, an offer 64 lines."""
    if isinstance(message, _NEW_CALLS):
        streams, networks = _split(message.new.streams)
        return structs.replace(message, new=structs.replace(message.new, streams=streams, networks=networks))
    if isinstance(message, Change):
        streams, networks = _split(message.streams)
        return structs.replace(message, streams=streams, networks=networks)
    return message


def _split(streams: Sequence[StreamSpec]) -> tuple[tuple[StreamSpec, ...], tuple[str, ...]]:
    """Take out the networks that all streams share; none if they differ."""
    networks = streams[0].networks if len(streams) > 1 else ()
    if not networks or any(each.networks != networks for each in streams):
        return tuple(streams), ()
    return tuple([each.without_networks() for each in streams]), networks


def _decoded(decoder: Decoder[M], data: bytes | bytearray | memoryview) -> M:
    try:
        return decoder.decode(data)
    except (MsgspecError, ValueError, RecursionError):
        raise WireError("not a message between main and a worker") from None
