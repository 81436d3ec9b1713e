"""What is told of a recording: the call's document of this moment; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from recorder.session import call_document as document
from recorder.session import events as e
from recorder.session.stream import Stream
from sip.siprec.call_model import CallModel
from sip.siprec.correlation import call_names
from sip.siprec.stream_owners import Owner

if TYPE_CHECKING:
    from recorder.session.session import Recording


CORRECTED = timedelta(
    seconds=60
)  # what time servers may take back without anybody minding (storage.retention.policy.MAX_STEP)


def duration_ms(recording: Recording, now: e.Now) -> int:
    """Return how long the recording lasts by the monotonic clock."""
    if recording.started is None:
        return 0
    return max(0, round(1000 * ((recording.ended or now).mono - recording.started.mono)))


def kept_from(recording: Recording, now: e.Now) -> datetime | None:
    """Return when the recording really ended, or ends if it does now; None where the wall clock says it.

    A clock that was set back while the daemon ran would have it erased too early once it is right again.
    """
    if recording.started is None:
        return None
    end, length = recording.ended or now, timedelta(milliseconds=duration_ms(recording, now))
    began = recording.started
    true = max(end.wall + end.behind, began.wall + began.behind + length)
    return true if true - end.wall > CORRECTED else None


def call_document(recording: Recording, owners: Sequence[Owner], now: e.Now) -> dict[str, Any]:
    """Return everything known of the call, as the API shows it, without what the database adds."""
    picture, later = recording.picture, kept_from(recording, now)
    return {
        "id": recording.id,
        "state": recording.shown_state(),
        "started_at": document.rfc3339(recording.started.wall if recording.started else None),
        "ended_at": document.rfc3339(recording.ended.wall if recording.ended else None),
        "duration_ms": duration_ms(recording, now),
        "session_id": recording.session_id,
        "sip_call_id": recording.call_id,
        "client": recording.client,
        "source": recording.source,
        "direction": picture.direction,
        **({"kept_from": document.rfc3339(later)} if later else {}),
        "end_reason": recording.reason,
        "paused": recording.paused,
        "parties": [document.party(p) for p in picture.parties()],
        "streams": [s.document(o, _speakers(s, picture)) for s, o in zip(recording.streams, owners, strict=True)],
        "groups": list(picture.groups),
        "correlations": [list(x) for x in picture.correlations],
        **document.belonging(call_names(picture.correlations)),
        "notes": list(recording.notes),
    }


def _speakers(stream: Stream, picture: CallModel) -> Sequence[Owner]:
    """Return who was heard when in a stream that changed its owner, as indices into the parties of this moment."""
    return picture.shown([Owner(who, inferred) for _, who, inferred in stream.speakers]) if stream.speakers else ()
