from recorder.simulate import coded
from recorder.simulate.compare import difference
from recorder.simulate.plan import Party
from recorder.simulate.report import StreamReport


def stream(number: int = 0) -> StreamReport:
    return StreamReport("1", "PCMA", None, 7, 3, number, Party("A", "sip:a@x.example"), sent=((10, 12), (20, 21)))


def found(position: int, frame: int, run: int = 7) -> coded.Found:
    return coded.Found(position, run, 3, 0, frame)


def test_a_channel_as_it_was_sent() -> None:
    made = difference(stream(), [found(0, 10), found(160, 11), found(1600, 20)], 10)
    assert made.none and made.sent == 3


def test_each_kind_of_difference_is_named() -> None:
    made = difference(stream(), [found(0, 10), found(160, 10), found(1601, 20), found(3200, 30, run=8)], 10)
    assert (made.missing, made.doubled, made.foreign, made.displaced) == ((11,), (10,), 1, (20,))
    assert not made.none
