"""The measures of the evaluation, on signals whose answer is known."""

import numpy as np
import pytest

from tools.builtin_voice.evaluate_pictures import encode_png, spectrogram
from tools.builtin_voice.evaluate_recogniser import words_of
from tools.builtin_voice.evaluate_report import Sentence, summarize
from tools.builtin_voice.evaluate_speakers import (
    Trials,
    cosine_distance,
    euclidean_distance,
    reference_trials,
    speech_trials,
)
from tools.builtin_voice.measures import (
    RATE_HZ,
    FloatArray,
    NotMeasurable,
    compare,
    log_mel,
    mel_cepstra,
    pitch_contour,
    warp,
)
from tools.builtin_voice.measures_level import find_clicks, find_joins, loudness, measure_levels
from tools.builtin_voice.measures_tokens import (
    MIN_RUN,
    TokenAlignment,
    TokenArray,
    align_tokens,
    code_distances,
    silent_tokens,
)


def glide(low_hz: float, high_hz: float, seconds: float = 1.0) -> FloatArray:
    """Return a sound whose pitch rises and falls again and which darkens, in silence."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = low_hz + (high_hz - low_hz) * np.sin(np.pi * time_s / seconds)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    tilt = 0.5 + 1.5 * time_s / seconds
    sound = sum(np.cos(n * phase) / n**tilt for n in range(1, 16))
    silence = np.zeros(RATE_HZ // 5)
    return np.concatenate((silence, 0.1 * np.asarray(sound), silence))


def test_pitch_of_a_glide_is_found() -> None:
    """The tracker follows a voice from 100 to 200 Hz and hears nothing in the silence."""
    contour = pitch_contour(glide(100, 200))

    middle = slice(25, 115)
    expected = 100 + 100 * np.sin(np.pi * (np.arange(25, 115) - 19.5) / 100)
    assert contour.is_voiced[middle].all()
    assert np.abs(contour.pitch_hz[middle] / expected - 1).max() < 0.03
    assert not contour.is_voiced[:18].any()


@pytest.mark.parametrize("pitch_hz", [75, 110, 220, 350])
def test_pitch_has_no_octave_errors(pitch_hz: float) -> None:
    """A steady tone is heard at its own pitch, not at half or twice of it."""
    contour = pitch_contour(glide(pitch_hz, pitch_hz * 1.01))

    assert np.median(contour.pitch_hz[25:115]) == pytest.approx(pitch_hz, rel=0.02)


def test_noise_has_no_pitch() -> None:
    """White noise is unvoiced."""
    noise = np.random.default_rng(0).standard_normal(RATE_HZ)

    assert pitch_contour(noise).is_voiced.mean() < 0.05


def test_a_recording_equals_itself() -> None:
    """Against itself, at any loudness, there is no distance and full correlation."""
    sound = glide(100, 200)

    comparison = compare(0.3 * sound, sound)

    assert comparison.cepstral_distance_db == pytest.approx(0, abs=1e-3)
    assert comparison.pitch_correlation == pytest.approx(1, abs=1e-3)
    assert comparison.pitch_error_semitones == pytest.approx(0, abs=1e-3)
    assert comparison.voicing_errors == 0
    assert comparison.duration_ratio == 1


def test_an_octave_is_twelve_semitones() -> None:
    """The same melody an octave lower correlates, and its error is an octave."""
    comparison = compare(glide(100, 150), glide(200, 300))

    assert comparison.pitch_correlation == pytest.approx(1, abs=0.05)
    assert comparison.pitch_error_semitones == pytest.approx(12, abs=0.5)


def test_slower_speech_is_aligned_and_its_duration_told() -> None:
    """Speech that is a fifth slower is near after alignment, and its duration says so."""
    comparison = compare(glide(100, 200, 1.2), glide(100, 200, 1.0))

    assert comparison.duration_ratio == pytest.approx(1.2, abs=0.03)
    assert comparison.cepstral_distance_db < 2
    assert comparison.pitch_correlation is not None
    assert comparison.pitch_correlation > 0.95


def test_another_melody_does_not_correlate() -> None:
    """A falling and rising pitch is the opposite of a rising and falling one."""
    comparison = compare(glide(200, 100), glide(100, 200))

    assert comparison.pitch_correlation is not None
    assert comparison.pitch_correlation < 0.3


def test_a_steady_pitch_has_no_correlation() -> None:
    """Where nothing is voiced there is no number, and no error."""
    noise = np.random.default_rng(0).standard_normal(RATE_HZ)

    assert compare(noise, noise).pitch_correlation is None


def test_cepstral_distance_is_the_difference_of_smooth_spectra_in_decibels() -> None:
    """A spectrum that is 6 dB cos(x) away is 6/sqrt(2) dB away in the root mean square."""
    sound = log_mel(glide(100, 200))
    ripple = 6 * np.log(10) / 20 * np.cos(np.pi * (np.arange(40) + 0.5) / 40)
    difference = mel_cepstra(sound + ripple) - mel_cepstra(sound)

    distance_db = 10 / np.log(10) * np.sqrt(2 * (difference**2).sum(1))

    assert distance_db == pytest.approx(6 / np.sqrt(2), rel=1e-6)


@pytest.mark.parametrize("samples", [np.zeros(RATE_HZ), np.ones(100), np.full(RATE_HZ, np.nan)])
def test_what_cannot_be_measured_is_refused(samples: FloatArray) -> None:
    """Silence, a fragment and NaN raise NotMeasurable, nothing else."""
    with pytest.raises(NotMeasurable):
        compare(samples, glide(100, 200))


def test_warping_takes_the_cheapest_path() -> None:
    """The path goes from corner to corner through the zeros."""
    distances = np.abs(np.array([1, 2, 2, 3])[:, None] - np.array([1, 1, 2, 3]))

    rows, columns = warp(distances.astype(float))

    assert distances[rows, columns].sum() == 0
    assert (rows[0], columns[0], rows[-1], columns[-1]) == (0, 0, 3, 3)
    assert set(np.diff(rows)) | set(np.diff(columns)) <= {0, 1}


@pytest.mark.parametrize("rate_hz", [16_000, 32_000, 48_000])
def test_loudness_of_the_standards_tone(rate_hz: int) -> None:
    """A full-scale sine of 997 Hz is -3.01 LUFS, at any rate."""
    tone = np.sin(2 * np.pi * 997 * np.arange(3 * rate_hz) / rate_hz)

    assert loudness(tone, rate_hz) == pytest.approx(-3.01, abs=0.05)


def test_pauses_do_not_lower_the_loudness() -> None:
    """The gates leave silence out."""
    rate_hz = 32_000
    tone = 0.1 * np.sin(2 * np.pi * 997 * np.arange(2 * rate_hz) / rate_hz)
    paused = np.concatenate((tone, np.zeros(4 * rate_hz), tone))

    assert loudness(paused, rate_hz) == pytest.approx(loudness(tone, rate_hz), abs=0.7)


def test_clipping_and_dc_are_counted() -> None:
    """Samples at full scale are counted, and a shift is told as a share of the level."""
    tone = 0.5 * np.sin(2 * np.pi * 100 * np.arange(32_000) / 32_000)
    tone[100:110] = 1.0

    levels = measure_levels(tone + 0.0, 32_000)
    shifted = measure_levels(tone + 0.1, 32_000)

    assert levels.num_clipped == 10
    assert levels.dc < 0.01
    assert shifted.dc == pytest.approx(0.27, abs=0.03)


def test_a_step_at_a_join_is_a_click() -> None:
    """A join where the signal jumps is found; one where it goes on is none."""
    rate_hz = 32_000
    tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(rate_hz) / rate_hz)
    tone[16_000:] += 0.1

    assert find_clicks(tone, [8_000, 16_000], rate_hz) == [16_000]


def test_joins_are_chunks_and_pauses() -> None:
    """Chunk boundaries and both ends of inserted silence are joins; the ends of audio are not."""
    samples = np.ones(32_000)
    samples[10_000:14_000] = 0
    samples[20_000:20_010] = 0

    assert find_joins([5_000, 15_000, 12_000], samples, 32_000) == [5_000, 10_000, 14_000, 20_000]


def sentence_tokens(seed: int = 0) -> tuple[TokenArray, FloatArray]:
    """Return the tokens of a sentence, sounds of several tokens each, and distances of codes."""
    random = np.random.default_rng(seed)
    distances = code_distances(random.standard_normal((256, 32)))
    sounds = random.integers(0, 256, 30)
    return np.repeat(sounds, random.integers(1, 5, 30)), distances


def align(ours: TokenArray, teacher: TokenArray, distances: FloatArray) -> TokenAlignment:
    """Align without knowing silence."""
    return align_tokens(ours, teacher, distances)


def test_equal_tokens_have_no_gaps() -> None:
    """A sequence is aligned with itself one to one."""
    tokens, distances = sentence_tokens()

    assert align(tokens, tokens, distances) == TokenAlignment(0, 0, 0.0)


def test_a_skipped_word_is_flagged() -> None:
    """Ten tokens that the teacher says and the model does not are a skip."""
    tokens, distances = sentence_tokens()
    ours = np.delete(tokens, np.arange(30, 40))

    found = align(ours, tokens, distances)

    assert found.skipped >= MIN_RUN
    assert found.repeated < MIN_RUN
    assert found.is_flagged()


def test_a_repeated_word_is_flagged() -> None:
    """Ten tokens said twice are a repetition."""
    tokens, distances = sentence_tokens()
    ours = np.insert(tokens, 40, tokens[30:40])

    found = align(ours, tokens, distances)

    assert found.repeated >= MIN_RUN
    assert found.skipped < MIN_RUN


@pytest.mark.parametrize("seed", range(5))
def test_another_tempo_and_other_codes_are_not_flagged(seed: int) -> None:
    """Sounds a fifth longer, with one code in six another one, are the same words."""
    tokens, distances = sentence_tokens(seed)
    random = np.random.default_rng(seed + 100)
    ours = np.repeat(tokens, 1 + (random.random(len(tokens)) < 0.2))
    is_other = random.random(len(ours)) < 1 / 6
    ours = np.where(is_other, random.integers(0, 256, len(ours)), ours)

    assert not align(ours, tokens, distances).is_flagged()


def test_a_longer_pause_is_no_repetition() -> None:
    """Tokens of silence do not count."""
    tokens, distances = sentence_tokens()
    ours = np.insert(tokens, 40, np.arange(12))
    is_silent = np.zeros(len(ours), dtype=bool)
    is_silent[40:52] = True

    found = align_tokens(ours, tokens, distances, is_silent=is_silent)

    assert not found.is_flagged()
    assert align(ours, tokens, distances).is_flagged()


def test_silent_tokens_are_found_in_the_audio() -> None:
    """A token whose part of the audio is far quieter than the loudest is silent."""
    samples = np.concatenate((np.zeros(1280), np.ones(2560), np.full(1280, 0.001)))

    assert silent_tokens(samples, 4).tolist() == [True, False, False, True]


def test_speakers_who_differ_are_told_apart() -> None:
    """Each vector is compared with its own speaker's others and with each other speaker's."""
    random = np.random.default_rng(0)
    centers = {"a": np.array([1.0, 0, 0]), "b": np.array([0, 1.0, 0]), "c": np.array([0, 0, 1.0])}
    recordings = {
        name: [center + 0.05 * random.standard_normal(3) for _ in range(4)]
        for name, center in centers.items()
    }

    assert reference_trials(recordings, cosine_distance) == Trials(24, 24)
    del recordings["c"]
    assert speech_trials({"a": recordings["b"]}, recordings, euclidean_distance) == Trials(0, 4)
    assert speech_trials(recordings, recordings, euclidean_distance) == Trials(8, 8)


def test_figures_leave_out_what_was_not_measured() -> None:
    """A mean is over the sentences that have the value, and tells how many those are."""
    sentences = [Sentence("a", {"pitch_correlation": 0.5}), Sentence("b"), Sentence("c")]
    sentences[2].values["pitch_correlation"] = 0.7

    figures = summarize(sentences)

    assert [(f.value, f.count, f.is_met) for f in figures] == [(0.6, 2, False)]


def test_the_recogniser_reads_words_without_signs() -> None:
    """Sentences are compared as the recogniser writes them."""
    assert words_of("“Don’t go,” said Anna - at half-past two!") == (
        "don't go said anna at half past two"
    )


def test_a_picture_is_a_png_of_its_size() -> None:
    """A second is a hundred pixels wide; the file says so."""
    image = spectrogram(glide(100, 200, 0.6))

    assert image.shape == (257, 100)
    assert encode_png(image)[12:24] == b"IHDR" + bytes([0, 0, 0, 100, 0, 0, 1, 1])
