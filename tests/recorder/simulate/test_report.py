import wave
from array import array
from pathlib import Path
from typing import Any

from recorder.simulate import coded
from recorder.simulate.compare import difference
from recorder.simulate.plan import Party
from recorder.simulate.report import CallReport, Report, Sending, StreamReport, percentile, write_audio

ANNA = Party("Anna", "sip:anna@x.example")


def stream(**fields: Any) -> StreamReport:
    return StreamReport("1", "PCMA", None, 7, 3, 0, ANNA, **fields)


def call(status: int = 200, **fields: Any) -> CallReport:
    good: dict[str, Any] = {"bye_status": 200, "setup_ms": 5.0, "streams": [stream(sent=((0, 50),))]}
    return CallReport(0, "id", "session", (ANNA,), status, **(good | fields))


def test_samples_lie_where_they_were_sent() -> None:
    sound = stream(sent=((10, 12), (20, 21))).samples().tobytes()
    assert [(f.position, f.frame) for f in coded.find(sound)] == [(0, 10), (160, 11), (1600, 20)]
    assert len(sound) == 2 * 160 * 11
    tune = array("h", [i for i in range(3) for _ in range(160)])
    repeated = stream(sent=((2, 4), (6, 7)), tune=tune).samples()
    assert [repeated[at] for at in (0, 160, 640)] == [0, 1, 1]  # a tune begins anew, and is repeated by the clock
    assert len(stream().samples()) == 0 and stream().frames == 0


def test_what_was_heard_is_compared_with_what_was_sent() -> None:
    def found(position: int, frame: int, run: int = 7) -> coded.Found:
        return coded.Found(position, run, 3, 0, frame)

    sent = stream(sent=((10, 12), (20, 21)))
    same = difference(sent, [found(0, 10), found(160, 11), found(1600, 20)], 10)
    assert same.none and same.sent == 3
    other = difference(sent, [found(0, 10), found(160, 10), found(1601, 20), found(3200, 30, run=8)], 10)
    assert (other.missing, other.doubled, other.foreign, other.displaced) == ((11,), (10,), 1, (20,))
    assert not other.none


def test_the_exit_status_tells_how_it_went() -> None:
    assert Report((call(),), Sending()).exit_status == 0
    for bad in (call(503), call(faults=["x"]), call(ended_by_recorder=True), call(bye_status=0)):
        assert Report((call(), bad), Sending()).exit_status == 1
    assert Report((call(0),), Sending()).exit_status == 3
    assert Report((), Sending(), "Nobody answers.").exit_status == 3


def test_figures_of_a_report() -> None:
    refused = call(503, reason="Service Unavailable")
    report = Report((call(), refused, refused), Sending())
    assert report.refusals() == {"503 Service Unavailable": 2}
    assert report.facts()["refused 2"] == "503 Service Unavailable" and report.as_dict()["answered"] == 1
    assert percentile([3, 1, 2], 0.5) == 2 and percentile([3, 1, 2], 0.99) == 3 and percentile([], 0.5) is None
    figures = {"packets": 1000, "slots": 100, "errors": 0, "late_5ms": 1, "late_20ms": 0, "latest_us": 6000}
    sending = Sending.of({**figures, "cpu": 1.005}, 1.0)  # the cost leaves out the start
    assert (sending.cpu_us, sending.late_5ms, sending.latest_ms) == (5.0, 0.01, 6.0)


def test_audio_is_written_as_one_file_a_stream(tmp_path: Path) -> None:
    assert write_audio(tmp_path / "out", [call()]) == 1
    with wave.open(str(tmp_path / "out" / "call00000-stream0.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 50 * 160)


def test_what_the_recorder_reports_about_a_stream_is_judged() -> None:
    def told(seconds: float, **fields: Any) -> list[str]:
        return stream(sent=((10, 10 + round(50 * seconds)),), **fields).faults()

    assert told(11.9) == [] and told(12, receiver_reports=1, lost_reported=60) == []
    for words, fields in (
        ("no receiver report about stream 1 in 12 s", {}),
        ("misses more than a tenth of stream 1", {"receiver_reports": 1, "lost_reported": 61}),
        ("is not protected by the key", {"receiver_reports": 1, "unreadable_reports": 1}),
        ("about an SSRC that was not sent", {"receiver_reports": 1, "foreign_reports": 1}),
    ):
        (sentence,) = told(12, **fields)
        assert words in sentence
