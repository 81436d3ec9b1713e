"""Jobs travel as JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs.decoders import Format
from media.export.encoder import Container
from recorder.exports.render_job import (
    MAX_SPAN,
    BadJob,
    Job,
    JobPart,
    JobStream,
    from_json,
    span_from_json,
    span_to_json,
    to_json,
)

JOB = Job(
    parts=[
        JobPart(5, bytes(range(32)), b"prefix!", 4096, 12_345, False),
        JobPart(6, bytes(32), bytes(7), 4096, 1, True),
    ],
    streams=[
        JobStream(0, "a_leg", {0: Format("PCMU", 8000), 96: Format("opus", 48_000, 2, "x=1")}),
        JobStream(1, "v", {}, "video"),
    ],
    form=Container.FLAC,
    output=9,
    parent=1,
)


def test_a_job_arrives_as_it_was_sent() -> None:
    assert from_json(to_json(JOB)) == JOB
    line = span_to_json(10**18, 10**19 - 1)
    assert len(line) <= MAX_SPAN and line.endswith(b"\n")
    assert span_from_json(line) == (10**18, 10**19 - 1)


def test_a_key_is_not_shown() -> None:
    assert bytes(range(32)).hex() not in repr(JOB) and "\\x01\\x02" not in repr(JOB)


@given(st.binary(max_size=60) | st.integers(0, 400).map(lambda n: to_json(JOB)[:n]))
def test_anything_else_is_a_bad_job(data: bytes) -> None:
    with pytest.raises(BadJob):
        from_json(data)


@pytest.mark.parametrize("line", [b"", b"[1]\n", b"[1, 2, 3]\n", b'["a", 2]\n', b"7\n", b"\xff"])
def test_anything_else_is_no_range(line: bytes) -> None:
    with pytest.raises(BadJob):
        span_from_json(line)


def test_a_bad_job_repeats_nothing() -> None:
    with pytest.raises(BadJob, match=r"^the render job cannot be read$") as error:
        from_json(to_json(JOB).replace(b'"segment":4096', b'"segment":"secret"'))
    assert error.value.__cause__ is None
