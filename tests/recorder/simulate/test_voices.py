from recorder.simulate.voices import voice


def test_a_voice_is_the_same_each_time_and_as_long_as_asked() -> None:
    assert voice(3, 8000, 1.5) == voice(3, 8000, 1.5)
    assert len(voice(3, 8000, 1.5)) == 12_000


def test_two_parties_sing_different_tunes() -> None:
    assert voice(0, 8000, 2) != voice(1, 8000, 2)


def test_a_voice_is_loud_enough_to_hear_and_never_clips() -> None:
    sound = voice(0, 16000, 3)
    assert 8_000 < max(abs(sample) for sample in sound) < 32_000


def test_it_has_pauses_like_speech() -> None:
    sound = voice(2, 8000, 10)
    syllable = 1920
    silent = sum(not any(sound[at : at + syllable]) for at in range(0, len(sound), syllable))
    assert 1 <= silent <= 20
