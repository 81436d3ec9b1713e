"""What a run did, call by call; figures for a person and for --json."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorder.simulate import coded
from recorder.simulate.plan import CODECS, TICK, VIDEO, Party

_ENOUGH = 100_000
"""Packets needed for a meaningful cost per packet: with fewer, the clock itself is most of it."""
_UNREPORTED = 12.0
"""Seconds of audio about which there must be a report: they are some 5 s apart (RFC 3550 section 6.2)."""
_LOST = 0.1
"""Share of packets from which a reported loss is a fault: no network of a recorder loses as many."""

Stretch = tuple[int, int]
"""First tick sent and first tick no longer sent; a tick is 20 ms of the sender's clock."""


@dataclass(slots=True)
class StreamReport:
    """What was sent on one stream."""

    label: str
    """a=label of its m-line."""
    codec: str
    """PCMA, PCMU, G722, opus, VP8 or H264."""
    suite: str | None
    """SRTP suite, None for plain RTP."""
    run: int
    """Number of the run in coded frames."""
    call: int
    """Number of the call in coded frames, from 0."""
    stream: int
    """Number of the stream in coded frames, from 0."""
    party: Party
    """The participant heard or seen."""
    later: Party | None = None
    """The participant since the speakers changed places; None if they did not."""
    sent: tuple[Stretch, ...] = ()
    """When packets went out, one each tick."""
    tune: array[int] | None = field(default=None, repr=False)
    """The voice that is repeated, None for coded audio."""
    receiver_reports: int = 0
    """RTCP report blocks about it."""
    unreadable_reports: int = 0
    """RTCP packets that are not protected as agreed, or damaged."""
    foreign_reports: int = 0
    """RTCP report blocks about another source than ours."""
    lost_reported: int = 0
    """Packets lost according to the recorder."""
    jitter_ms: float = 0.0
    """Jitter according to the recorder."""

    def settle(self, figures: Mapping[str, Any], clock: int) -> None:
        """Take what the media process counted; `clock`: RTP clock units a millisecond."""
        self.sent = tuple((begin, end) for begin, end in figures["sent"] if end > begin)
        self.receiver_reports, self.unreadable_reports = figures["reports"], figures["unreadable"]
        self.lost_reported, self.foreign_reports = figures["lost"], figures["foreign"]
        self.jitter_ms = round(figures["jitter"] / clock, 3)

    def faults(self) -> list[str]:
        """Say what is wrong with the recorder's reports about it (RFC 3550 section 6)."""
        found = []
        if self.unreadable_reports:
            found.append(
                f"RTCP about stream {self.label} is damaged, or is not protected by the key that the answer names."
            )
        if self.foreign_reports:
            found.append(f"A report at the port of stream {self.label} is about an SSRC that was not sent.")
        if not self.receiver_reports and any((end - begin) * TICK >= _UNREPORTED for begin, end in self.sent):
            found.append(f"There is no receiver report about stream {self.label} in {_UNREPORTED:.0f} s.")
        if self.lost_reported > self.frames * _LOST:
            found.append(f"The recorder misses more than a tenth of stream {self.label}.")
        return found

    @property
    def frames(self) -> int:
        """How many packets were sent."""
        return sum(end - begin for begin, end in self.sent)

    @property
    def rate(self) -> int:
        """Samples a second of `samples`."""
        return CODECS[self.codec].rate

    def ticks(self) -> list[int]:
        """Return the frame numbers sent, in order."""
        return [tick for begin, end in self.sent for tick in range(begin, end)]

    def samples(self) -> array[int]:
        """Return what was sent as 16-bit samples from the first packet on, with silence where nothing was sent."""
        size = round(self.rate * TICK)
        sound = array("h")
        for begin, end in self.sent:
            sound.extend(array("h", bytes(2 * size * (begin - self.sent[0][0]) - 2 * len(sound))))
            for tick in range(begin, end):
                sound += self._frame(tick, size)
        return sound

    def _frame(self, tick: int, size: int) -> array[int]:
        if self.tune is None:
            frame = array("h")
            frame.frombytes(coded.samples(self.codec, self.run, self.call, self.stream, tick))
            return frame
        at = (tick - self.sent[0][0]) * size % len(self.tune)
        return self.tune[at : at + size]

    def as_dict(self) -> dict[str, Any]:
        """Return it for --json."""
        names = (
            "label",
            "codec",
            "suite",
            "run",
            "call",
            "stream",
            "frames",
            "receiver_reports",
            "unreadable_reports",
            "foreign_reports",
            "lost_reported",
            "jitter_ms",
        )
        return {name: getattr(self, name) for name in names} | {
            "speaker": self.party.aor,
            "later_speaker": self.later.aor if self.later else None,
            "sent": [list(s) for s in self.sent],
        }


@dataclass(slots=True)
class CallReport:
    """What became of one call."""

    number: int
    """From 0."""
    call_id: str
    """SIP Call-ID of the recording dialog."""
    session_id: str
    """session_id of the metadata."""
    parties: tuple[Party, ...]
    """Participants."""
    status: int = 0
    """Final answer to the INVITE, 0 if none came."""
    reason: str = ""
    """Reason phrase of a refusal, or why there was no answer."""
    setup_ms: float | None = None
    """From the INVITE to its final answer."""
    bye_status: int = 0
    """Answer to our BYE, 0 if none was sent or none came."""
    ended_by_recorder: bool = False
    """The recorder sent BYE first."""
    faults: list[str] = field(default_factory=list)
    """Rules that the recorder broke, in words."""
    streams: list[StreamReport] = field(default_factory=list)
    """Streams in the order of the offer, empty if the call was refused."""
    to: str = ""
    """URI of the recorder that answered, or of the last one that was tried."""

    def turned_to(self, to: str, call_id: str) -> None:
        """Note that the call goes to another recorder."""
        self.to, self.call_id = to, call_id

    def no_answer(self, setup_ms: float) -> None:
        """Note that the INVITE got no final answer."""
        self.setup_ms, self.reason = setup_ms, "nobody answered"

    def final_answer(self, setup_ms: float, status: int, reason: str) -> None:
        """Note the final answer to the INVITE."""
        self.setup_ms, self.status, self.reason = setup_ms, status, reason

    def fault(self, *faults: str) -> None:
        """Note which rules the recorder broke."""
        self.faults += faults

    def renamed(self, parties: Sequence[Party]) -> None:
        """Note the participants since the metadata were updated."""
        self.parties = tuple(parties)

    def ended(self, *, bye_status: int = 0, by_recorder: bool = False) -> None:
        """Note the answer to our BYE, or that the recorder sent one."""
        self.bye_status = bye_status or self.bye_status
        self.ended_by_recorder = self.ended_by_recorder or by_recorder

    @property
    def answered(self) -> bool:
        """Whether the recorder accepted the call."""
        return 200 <= self.status < 300

    @property
    def well(self) -> bool:
        """Whether the call was accepted, lasted as long as planned and ended normally."""
        return self.answered and not self.faults and not self.ended_by_recorder and 200 <= self.bye_status < 300

    def as_dict(self) -> dict[str, Any]:
        """Return it for --json."""
        names = (
            "number",
            "call_id",
            "session_id",
            "to",
            "answered",
            "status",
            "reason",
            "setup_ms",
            "bye_status",
            "ended_by_recorder",
            "faults",
        )
        plain = {name: getattr(self, name) for name in names}
        parties = [{"name": party.name, "aor": party.aor} for party in self.parties]
        return plain | {"parties": parties, "streams": [stream.as_dict() for stream in self.streams]}


@dataclass(frozen=True, slots=True)
class Sending:
    """How well the media process kept its clock."""

    packets: int = 0
    """Packets sent in all."""
    errors: int = 0
    """Packets that the kernel or libsrtp refused."""
    cpu_us: float = 0.0
    """Own CPU time a packet in microseconds."""
    late_5ms: float = 0.0
    """Share of 2 ms slots that were more than 5 ms late."""
    late_20ms: float = 0.0
    """Share of slots that were more than 20 ms late."""
    latest_ms: float = 0.0
    """The latest slot."""

    @classmethod
    def of(cls, figures: dict[str, Any], cpu_before: float) -> Sending:
        """Read the counters of the media process; what it used before the first call does not count."""
        packets, slots = figures["packets"], max(1, figures["slots"])
        return cls(
            packets,
            figures["errors"],
            round((figures["cpu"] - cpu_before) / max(1, packets) * 1e6, 2),
            round(figures["late_5ms"] / slots, 5),
            round(figures["late_20ms"] / slots, 5),
            figures["latest_us"] / 1000,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for --json."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    calls: tuple[CallReport, ...]
    """In the order they were placed."""
    sending: Sending
    """How well the media were sent."""
    unreachable: str | None = None
    """Why the recorder could not be reached at all, in words."""

    @property
    def exit_status(self) -> int:
        """0 all calls went as planned, 1 some did not, 3 nobody answers."""
        if self.unreachable or not any(call.status for call in self.calls):
            return 3
        return 0 if all(call.well for call in self.calls) else 1

    @property
    def frames(self) -> int:
        """Packets sent in all calls."""
        return sum(stream.frames for call in self.calls for stream in call.streams)

    def setup_ms(self, share: float) -> float | None:
        """Return the time that this share of the answered calls did not exceed, None without any."""
        return percentile([c.setup_ms for c in self.calls if c.answered and c.setup_ms is not None], share)

    def refusals(self) -> dict[str, int]:
        """Count the refused calls, by status and reason."""
        return dict(Counter(f"{c.status or 'no answer'} {c.reason}".strip() for c in self.calls if not c.answered))

    def as_dict(self) -> dict[str, Any]:
        """Return it for --json."""
        return {
            "calls": len(self.calls),
            "answered": sum(call.answered for call in self.calls),
            "well": sum(call.well for call in self.calls),
            "refused": self.refusals(),
            "frames": self.frames,
            "setup_ms": {"p50": self.setup_ms(0.5), "p99": self.setup_ms(0.99)},
            "sending": self.sending.as_dict(),
            "unreachable": self.unreachable,
            "each": [call.as_dict() for call in self.calls],
        }

    def facts(self) -> dict[str, object]:
        """Return the lines for a person to read."""
        heard = sum(s.receiver_reports for c in self.calls for s in c.streams)
        lost = sum(max(0, s.lost_reported) for c in self.calls for s in c.streams)
        answered, well = sum(c.answered for c in self.calls), sum(c.well for c in self.calls)
        lines: dict[str, object] = {
            "calls": f"{answered} of {len(self.calls)} answered, {well} as planned",
            "frames sent": f"{self.frames:,}",
            "reports heard": f"{heard} receiver reports, {lost} packets reported lost",
        }
        if (half := self.setup_ms(0.5)) is not None:
            lines["set-up"] = f"{half:.1f} ms for half of the calls, {self.setup_ms(0.99):.1f} ms for 99 of 100"
        if self.frames:
            late = f"{self.sending.late_5ms:.2%} of slots over 5 ms late, latest {self.sending.latest_ms:.1f} ms"
            cost = f"{self.sending.cpu_us:.2f} us CPU a packet, " if self.frames >= _ENOUGH else ""
            lines["sender"] = f"{cost}{late}, {self.sending.errors} errors"
        if len(at := Counter(call.to for call in self.calls if call.answered)) > 1:
            lines["answered by"] = ", ".join(f"{to} {count}" for to, count in sorted(at.items()))
        for reason, count in self.refusals().items():
            lines[f"refused {count}"] = reason
        for fault, count in Counter(f for c in self.calls for f in c.faults).most_common(20):
            lines[f"fault {count} times"] = fault
        ended = sum(c.ended_by_recorder for c in self.calls)
        return lines | ({"ended early": f"{ended} calls by the recorder"} if ended else {})


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that this share does not exceed; None for no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def wav_name(call: CallReport, stream: StreamReport) -> str:
    """Return the file name of a stream's audio."""
    return f"call{call.number:05d}-stream{stream.stream}.wav"


def write_audio(folder: Path, calls: Sequence[CallReport]) -> int:
    """Write what was sent as one mono WAV a stream; return the number of files."""
    import wave

    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for call in calls:
        for stream in (stream for stream in call.streams if stream.codec not in VIDEO):
            with wave.open(str(folder / wav_name(call, stream)), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(stream.rate)
                file.writeframes(stream.samples().tobytes())
            count += 1
    return count
