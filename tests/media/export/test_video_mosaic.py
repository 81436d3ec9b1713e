"""The pictures of a call beside each other, each in its place and shape, when they were sent."""

import pytest

from media.codecs.decoders import Format
from media.export.render import measure, render
from media.export.video_mosaic import FPS, HEIGHT, WIDTH, Canvas, Cell, Mosaic, cells, fitted
from media.records import record_format
from tests.in_process.films import film, h264_payloads, picture, stored, vp8_payloads
from tests.in_process.rendered_calls import noise, run, stream

H264, VP8 = Format("H264", 90_000), Format("VP8", 90_000)


def test_cells_share_the_canvas() -> None:
    for count in range(1, 65):
        made = cells(count)
        assert len(made) == count
        for cell in made:
            assert not (cell.left | cell.top | cell.width | cell.height) & 1
            assert cell.left + cell.width <= WIDTH and cell.top + cell.height <= HEIGHT
        taken = {(cell.left, cell.top) for cell in made}
        assert len(taken) == count
    assert cells(1)[0] == Cell(0, 0, WIDTH, HEIGHT)


@pytest.mark.parametrize(("width", "height"), [(320, 180), (640, 480), (180, 320), (1, 4000), (4000, 1), (0, 0)])
def test_a_picture_keeps_its_shape(width: int, height: int) -> None:
    for cell in cells(5):
        left, top, wide, high = fitted(width, height, cell)
        assert cell.left <= left and left + wide <= cell.left + cell.width
        assert cell.top <= top and top + high <= cell.top + cell.height
        if min(width, height) > 100:
            assert abs(wide / high - width / height) < 0.03


def test_a_picture_is_pasted_into_its_cell_only() -> None:
    canvas, (left, right) = Canvas(), cells(2)
    canvas.paste(picture(200), right)
    luma = bytes(canvas.frame().planes[0])
    middle = HEIGHT // 2 * WIDTH
    assert luma[middle + left.width // 2] == 16 and abs(luma[middle + right.left + right.width // 2] - 200) <= 1
    canvas.blacken(right)
    assert set(canvas.planes[0]) == {16}


def drawn(data: bytes, *forms: Format, until: float | None = None) -> list[tuple[float, bytes]]:
    """Render stream 0 as sound and those behind it as pictures; give each picture's time and brightness.

    With `until` all of them are drawn at the end, up to that second.
    """
    numbers = range(1, 1 + len(forms))
    measured = measure(record_format.read([data]), (stream(0),), [stream(n, (96, forms[n - 1])) for n in numbers])
    mosaic, made, given = Mosaic(list(numbers), measured.rate), [], [0]

    def give(pcm: bytes | bytearray) -> None:
        given[0] += len(pcm) // 2
        made.extend(mosaic.upto(given[0] / measured.rate))

    render(measured, record_format.read([data]), give if until is None else lambda _: None, mosaic.add)
    made += mosaic.finish(until or given[0] / measured.rate)
    assert mosaic.errors == 0
    return [(at, bytes(frame.planes[0])) for at, frame in made]


def middle(cell: Cell) -> int:
    return HEIGHT // 2 * WIDTH + cell.left + cell.width // 2


def shown(payload_of: object, codec: str, form: Format, **more: object) -> list[tuple[float, list[int]]]:
    """Render two films, the second late and bright; give each picture's time with the luma of both cells' middles."""
    first = [payload_of(data) for data in film(codec, [60] * 50)]  # type: ignore[operator]  # a function of films
    second = [payload_of(data) for data in film(codec, [60] * 20 + [220] * 10, 180, 320)]  # type: ignore[operator]  # payloads are bytes
    data = run(noise(1, 100)) + stored(first, stream=1) + stored(second, stream=2, ssrc=91, at=500, **more)  # type: ignore[arg-type]  # shorthand
    return [(at, [luma[middle(cell)] for cell in cells(2)]) for at, luma in drawn(data, form, form)]


@pytest.mark.parametrize(
    ("payload_of", "codec", "form"), [(h264_payloads, "libx264", H264), (vp8_payloads, "libvpx", VP8)]
)
def test_pictures_are_seen_when_they_were_sent_t12(payload_of: object, codec: str, form: Format) -> None:
    made = shown(payload_of, codec, form)
    assert [at for at, _ in made] == sorted({at for at, _ in made})
    assert all(abs(left - 60) <= 4 for _, (left, _) in made[1:])
    begins = min(at for at, (_, right) in made if right > 40)
    bright = min(at for at, (_, right) in made if right > 200)
    assert abs(begins - 0.5) <= 1 / FPS and abs(bright - 1.3) <= 1 / FPS


def test_a_still_screen_is_shown_when_it_was_sent() -> None:
    lumas, every = [60, 120, 180, 220], 6_000
    pictures = [h264_payloads(picture) for picture in film("libx264", lumas)]
    made = drawn(run(noise(1, 4 * every // 20)) + stored(pictures, stream=1, every=every), H264)
    for number, luma in enumerate(lumas):
        begins = min(at for at, seen in made if abs(seen[middle(cells(1)[0])] - luma) <= 4)
        assert abs(begins - number * every / 1000) <= 1 / FPS


def test_a_lost_picture_spoils_no_other() -> None:
    made = shown(vp8_payloads, "libvpx", VP8, lost=frozenset({5}))
    assert max(right for _, (_, right) in made) > 200


def test_a_camera_that_is_off_is_black() -> None:
    pictures = [h264_payloads(data) for data in film("libx264", [200] * 5)]
    at, luma = drawn(run(noise(1, 500)) + stored(pictures, stream=1), H264, until=10.0)[-1]
    assert abs(at - 5.2) < 0.1 and set(luma) == {16}
