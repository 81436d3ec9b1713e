"""A customer for screenshots: three weeks of a small company's calls, all invented, some names hostile."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from storage.calls.call_index import CallRow, CallState
from storage.search_forms import stored
from storage.timestamps import rfc3339

HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "Tom O'Hara & Söhne “quoted”",
)
"""Hostile names that somebody might put into a SIP header."""
STAFF = ("Grace Okafor", "Jonas Lindqvist", "Mira Petrović", "Tobias Wagner")
CALLERS = (
    "Anna Schmidt",
    "Luis Ferreira",
    "Elif Demir",
    "Paul Brandt",
    "Chiara Rossi",
    "Henrik Nygård",
    "Sofia Marková",
    "Emre Yıldız",
)
CALLS = 44
FIRST = datetime.fromisoformat("2026-11-02T08:00:00+00:00")


def calls() -> Iterator[tuple[CallRow, Sequence[str]]]:
    """Make the calls with their search forms."""
    for number in range(CALLS):
        row = _call(number)
        parties = row.details["parties"]
        yield row, tuple(form for party in parties for form in stored(party, "DE"))


def _call(number: int) -> CallRow:
    began = FIRST + timedelta(hours=11 * number, minutes=7 * number % 50)
    seconds = 35 + number * 97 % 840
    ended = began + timedelta(seconds=seconds)
    broken = number % 13 == 5
    day = (began - datetime.fromisoformat("1970-01-01T00:00:00+00:00")).days
    details: Any = {
        "session_id": f"{number:08x}0000000000000000000000000000",
        "parties": _parties(number, began, ended),
        "streams": [_stream(label, began, seconds, broken=broken and label == 1) for label in (0, 1)],
        "direction": "inbound" if number % 3 else "outbound",
        "source": "192.0.2.10",
    }
    return CallRow(
        id=f"{0xA11CE + number:08x}-5e1f-4a6b-9c2d-{number:012x}",
        leaf=day << 32 | number + 1,
        state=CallState.INTERRUPTED if broken else CallState.COMPLETE,
        started_at=began,
        ended_at=ended,
        duration_ms=seconds * 1000,
        size_bytes=seconds * 16_400,
        erase_after=ended + timedelta(days=180),
        details=details,
    )


def _parties(number: int, began: datetime, ended: datetime) -> list[dict[str, Any]]:
    outside = HOSTILE[number // 10] if number % 10 == 9 else CALLERS[number * 5 % len(CALLERS)]
    inside = STAFF[number * 3 % len(STAFF)]
    far = _party(outside, f"+4930555{number * 5 % len(CALLERS):04}", "pstn.example", began, ended)
    near = _party(inside, f"+4989444{number * 3 % len(STAFF):04}", "werk.example", began, ended)
    caller, callee = (far, near) if number % 3 else (near, far)
    return [{**caller, "role": "caller"}, {**callee, "role": "callee"}]


def _party(name: str, number: str, domain: str, began: datetime, ended: datetime) -> dict[str, Any]:
    return {
        "role": "participant",
        "name": name,
        "number": number,
        "uri": f"sip:{number}@{domain}",
        "also": [],
        "user_id": None,
        "joined_at": rfc3339(began),
        "left_at": rfc3339(ended),
    }


def _stream(label: int, began: datetime, seconds: int, *, broken: bool) -> dict[str, Any]:
    gap = [[rfc3339(began + timedelta(seconds=12)), rfc3339(began + timedelta(seconds=16)), "loss"]]
    pause = [[rfc3339(began + timedelta(seconds=20)), rfc3339(began + timedelta(seconds=27))]]
    return {
        "label": str(label + 1),
        "party": label,
        "media": "audio",
        "codec": "PCMA",
        "srtp": "AES_CM_128_HMAC_SHA1_80",
        "packets": seconds * 50 - (200 if broken else 0),
        "lost": 200 if broken else 0,
        "duplicates": 0,
        "rejected": 0,
        "foreign": 0,
        "late": 0,
        "gap_ms": 4000 if broken else 0,
        "gaps": gap if broken else [],
        "pauses": pause if seconds > 400 else [],
        "jitter_ms": 1.4,
        "mos": 3.1 if broken else 4.3,
        "first_packet_at": rfc3339(began),
        "last_packet_at": rfc3339(began + timedelta(seconds=seconds)),
        "payloads": [{"pt": 8, "encoding": "PCMA", "clock": 8000, "channels": 1, "fmtp": ""}],
    }


def sound(seconds: int = 12) -> bytes:
    """Make a stereo WAV of 8,000 Hz in which two people take turns."""
    frames = bytearray()
    for at in range(seconds * 8000):
        speaks = int(at / 8000 / 2) % 2
        swell = abs(math.sin(at / 8000 * 5)) * 9000
        tone = int(swell * math.sin(at * (0.15, 0.22)[speaks]))
        frames += (tone if speaks == 0 else 0).to_bytes(2, "little", signed=True)
        frames += (tone if speaks == 1 else 0).to_bytes(2, "little", signed=True)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(frames))
    return file.getvalue()


def figures(points: int = 360) -> dict[str, Any]:
    """Return what `GET /system` shows after a busy hour."""
    begin = FIRST + timedelta(days=20)
    times = [rfc3339(begin + timedelta(seconds=10 * n)) for n in range(points)]
    calls = [round(140 + 60 * math.sin(n / 40) + 9 * math.sin(n / 3)) for n in range(points)]
    free = [812_000_000_000 - 7_000_000 * n for n in range(points)]
    return {
        "at": times[-1],
        "customer": {
            "calls_active": calls[-1] // 4,
            "calls": CALLS,
            "size_bytes": 312_000_000,
            "history": [[at, count // 4] for at, count in zip(times, calls, strict=True)],
        },
        "node": {
            "ready": True,
            "reason": None,
            "started_at": rfc3339(FIRST),
            "calls_active": calls[-1],
            "max_calls": 2000,
            "disks": [
                {"use": "data", "free_bytes": free[-1], "size_bytes": 1_800_000_000_000},
                {"use": "runtime", "free_bytes": 3_900_000_000, "size_bytes": 4_100_000_000},
            ],
            "workers": [{"number": 0, "busy": 0.31}, {"number": 1, "busy": 0.27}],
            "unindexed_seconds": 0.4,
            "certificates": [
                {"use": "sip", "expires_at": rfc3339(begin + timedelta(days=12))},
                {"use": "admin_api", "expires_at": rfc3339(begin + timedelta(days=300))},
            ],
            "keys_backed_up_at": rfc3339(begin - timedelta(days=2)),
            "history": [
                [at, count, room, round(count / 700, 3)] for at, count, room in zip(times, calls, free, strict=True)
            ],
        },
    }
