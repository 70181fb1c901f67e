import math

import pytest

from sovits_serve.api.tts_params import FIELDS, TtsParams, read_tts_params
from sovits_serve.errors import InvalidRequest

BASE = {"text": "hi", "text_lang": "en"}


def read(**given: object) -> TtsParams:
    """Read parameters beside a text and its language."""
    return read_tts_params({**BASE, **given})


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ("ture", 1),
        ("True", 1),
        ("true", 1),
        (True, 1),
        ("1", 1),
        (1, 1),
        (2, 2),
        ("2", 2),
        (3, 3),
        ("3", 3),
        ("False", 0),
        ("false", 0),
        (False, 0),
        (0, 0),
        ("0", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_every_spelling_of_streaming_mode_is_read(given: object, mode: int) -> None:
    """Booleans, numbers, their strings and the typo that is some client's default."""
    assert read(streaming_mode=given).streaming_mode == mode


@pytest.mark.parametrize("given", [4, -1, "4", "stream", [], {}, 1.5])
def test_other_streaming_modes_are_refused_in_upstreams_words(given: object) -> None:
    """What is no mode is 400, not a guess."""
    with pytest.raises(InvalidRequest, match="the value of streaming_mode must be 0, 1, 2, 3"):
        read(streaming_mode=given)


def test_nothing_is_null_is_empty() -> None:
    """A parameter that is null or blank is one that was not given."""
    names = [declared.name for declared in FIELDS if declared.name not in BASE]

    bare = read()
    assert read(**dict.fromkeys(names)) == bare
    assert read(**dict.fromkeys(names, "")) == bare
    assert (bare.top_k, bare.seed, bare.speed_factor) == (None, None, None)
    assert (bare.text_split_method, bare.media_type) == ("cut5", "wav")


def test_numbers_may_be_strings() -> None:
    """Clients that put everything into a query are understood."""
    params = read(
        top_k="5", top_p="0.8", speed_factor="1.5", seed="-1", temperature=1, batch_size="1"
    )

    assert (params.top_k, params.top_p, params.speed_factor) == (5, 0.8, 1.5)
    assert params.seed is None
    assert read(top_k=5.0).top_k == read(top_k="5.0").top_k == 5
    assert read(seed=2**63 - 1).seed == read(seed=str(2**63 - 1)).seed == 2**63 - 1


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("top_k", "x", "not a number"),
        ("top_k", 1.5, "not a whole number"),
        ("top_k", True, "not a number"),
        ("top_k", -5, "between 0 and"),
        ("top_p", 1.5, "between 0 and 1"),
        ("top_p", "nan", "not a finite number"),
        ("temperature", math.inf, "not a finite number"),
        ("temperature", "1e999", "not a finite number"),
        ("temperature", [1], "not a number"),
        ("speed_factor", 0, "between 0.25 and 4"),
        ("speed_factor", -1, "between 0.25 and 4"),
        ("fragment_interval", -0.1, "between 0 and 10"),
        ("seed", -2, "between -1 and"),
        ("seed", 2**63, "between -1 and"),
        ("seed", "9" * 5000, "not"),
        ("repetition_penalty", 0, "between 0.01 and"),
        ("sample_steps", 1000, "between 1 and 128"),
        ("split_bucket", "maybe", "not true or false"),
        ("super_sampling", {}, "not true or false"),
        ("batch_size", "many", "not a number"),
        ("text", ["a"], "not a text"),
        ("text_lang", "tlh", "not supported"),
        ("prompt_lang", "tlh", "not supported"),
        ("media_type", "exe", "not supported"),
        ("text_split_method", "cut9", "not supported"),
        ("aux_ref_audio_paths", ["a"] * 5, "at most 4"),
        ("aux_ref_audio_paths", [1], "not a list of paths"),
        ("aux_ref_audio_paths", {}, "not a list of paths"),
        ("aux_ref_audio_paths", "[1", "not a list of paths"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: object, told: str) -> None:
    """The message begins with the parameter and says what it may be; it is never long."""
    with pytest.raises(InvalidRequest) as error:
        read(**{name: value})

    assert error.value.message.startswith(f"{name}: ")
    assert told in error.value.message
    assert len(error.value.message) < 400


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ([], ()),
        ("", ()),
        (None, ()),
        ("[]", ()),
        ("a.wav", ("a.wav",)),
        (["a.wav", "", None, "b.wav"], ("a.wav", "b.wav")),
        ('["a.wav", "b.wav"]', ("a.wav", "b.wav")),
    ],
)
def test_lists_are_read_however_they_come(given: object, paths: tuple[str, ...]) -> None:
    """Empty strings, single paths, JSON in a query."""
    assert read(ref_audio_path="r.wav", aux_ref_audio_paths=given).aux_ref_audio_paths == paths


@pytest.mark.parametrize("missing", ["text", "text_lang"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_required_is_said_in_upstreams_words(missing: str, value: object) -> None:
    """Clients match on these."""
    with pytest.raises(InvalidRequest) as error:
        read(**{missing: value})

    assert error.value.message == f"{missing} is required"


def test_prompt_lang_is_required_for_a_prompt_only() -> None:
    """Without a reference or its words there is nothing that has a language."""
    with pytest.raises(InvalidRequest, match="^prompt_lang is required$"):
        read(ref_audio_path="a.wav", prompt_text="hello")

    assert read(ref_audio_path="a.wav").prompt_lang == ""
    assert read(prompt_text="hello").prompt_lang == ""


def test_languages_are_lower_cased_and_strangers_ignored() -> None:
    """As upstream does for GET; what nobody knows is no error."""
    params = read(text_lang="ZH", prompt_lang=" All_JA ", return_fragment=True, cha_name="x")

    assert (params.text_lang, params.prompt_lang) == ("zh", "all_ja")
