"""What is missing by the clock alone is told in whole packets: never less than what was lost."""

from dataclasses import replace

from tests.media.stream.test_gap_detection import BEGIN, MS, Heard


def test_time_without_numbers_is_missing_in_whole_packets() -> None:
    """The last packet before may have come late, which hid that it was followed by one more."""
    heard = Heard().hear(11, at=235).resumed(1000).finish(1000)
    assert heard.listed == [(1000 - 39 * 20, 1000, "restart")]
    assert heard.gap_ms == 20 * len(range(240, 1001, 20))


def test_unstored_audio_lasts_as_long_as_its_packets() -> None:
    heard = Heard()
    heard.track.unstored(4, BEGIN + 130 * MS, BEGIN + 200 * MS)  # four, of which some came late
    assert (heard.listed, heard.gap_ms, heard.track.reception.packets) == ([(130, 200, "disk")], 80, 6)
    heard.track.unstored(3, BEGIN + 130 * MS, BEGIN + 300 * MS)
    assert (heard.listed, heard.gap_ms, heard.track.reception.packets) == ([(130, 300, "disk")], 140, 3)


def test_unstored_pictures_last_as_long_as_they_arrived() -> None:
    """Many packets make one of them."""
    heard = Heard()
    heard.track.spec = replace(heard.track.spec, continuous=False)
    for end in (200, 310):
        heard.track.unstored(4, BEGIN + 130 * MS, BEGIN + end * MS)
    assert (heard.listed, heard.gap_ms) == ([(130, 310, "disk")], 180)
