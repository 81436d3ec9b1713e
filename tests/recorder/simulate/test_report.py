import wave
from array import array
from pathlib import Path

from recorder.simulate import coded
from recorder.simulate.plan import Party
from recorder.simulate.report import CallReport, Report, Sending, StreamReport, percentile, write_audio

ANNA = Party("Anna", "sip:anna@x.example")


def stream(**fields: object) -> StreamReport:
    return StreamReport("1", "PCMA", None, 7, 3, 0, ANNA, **fields)  # type: ignore[arg-type]  # as the test likes


def call(status: int = 200, **fields: object) -> CallReport:
    good = {"bye_status": 200, "setup_ms": 5.0, "streams": [stream(sent=((0, 50),))]}
    return CallReport(0, "id", "session", (ANNA,), status, **(good | fields))  # type: ignore[arg-type]  # as the test likes


def test_samples_lie_where_they_were_sent() -> None:
    sound = stream(sent=((10, 12), (20, 21))).samples().tobytes()
    assert [(f.position, f.frame) for f in coded.find(sound)] == [(0, 10), (160, 11), (1600, 20)]
    assert len(sound) == 2 * 160 * 11


def test_a_tune_is_repeated_by_the_clock() -> None:
    tune = array("h", [i for i in range(3) for _ in range(160)])
    sound = stream(sent=((2, 5),), tune=tune).samples()
    assert [sound[at] for at in (0, 160, 320)] == [2, 0, 1]


def test_nothing_sent_is_nothing_said() -> None:
    assert len(stream().samples()) == 0 and stream().frames == 0


def test_the_exit_status_tells_how_it_went() -> None:
    assert Report((call(),), Sending()).exit_status == 0
    for bad in (call(503), call(faults=["x"]), call(ended_by_recorder=True), call(bye_status=0)):
        assert Report((call(), bad), Sending()).exit_status == 1
    assert Report((call(0),), Sending()).exit_status == 3
    assert Report((), Sending(), "Nobody answers.").exit_status == 3


def test_refusals_are_counted_by_reason() -> None:
    report = Report(
        (call(), call(503, reason="Service Unavailable"), call(503, reason="Service Unavailable")), Sending()
    )
    assert report.refusals() == {"503 Service Unavailable": 2}
    assert report.facts()["refused 2"] == "503 Service Unavailable"
    assert report.as_dict()["answered"] == 1


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile([3, 1, 2], 0.5) == 2 and percentile([3, 1, 2], 0.99) == 3 and percentile([], 0.5) is None


def test_the_sender_s_cost_leaves_out_its_start() -> None:
    figures = {
        "packets": 1000,
        "slots": 100,
        "errors": 0,
        "cpu": 1.005,
        "late_5ms": 1,
        "late_20ms": 0,
        "latest_us": 6000,
    }
    sending = Sending.of(figures, 1.0)
    assert (sending.cpu_us, sending.late_5ms, sending.latest_ms) == (5.0, 0.01, 6.0)


def test_audio_is_written_as_one_file_a_stream(tmp_path: Path) -> None:
    assert write_audio(tmp_path / "out", [call()]) == 1
    with wave.open(str(tmp_path / "out" / "call00000-stream0.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 50 * 160)
