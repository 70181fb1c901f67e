"""Han text is cut into phrases by weights."""

from sovits_serve.frontend.languages.phrase import PhraseModel, split_phrases


def phrases(text: str) -> list[str]:
    """Return the phrases of a text."""
    return [text[start:end] for start, end in split_phrases(text)]


def test_weights_decide_where_a_phrase_ends() -> None:
    """A phrase ends where the weights around a place exceed half of all weights."""
    model = PhraseModel({"UW4": {"b": 5}, "BW2": {"ab": 3}, "TW1": {"xxx": 4}})

    assert list(model.split("aab")) == [(0, 2), (2, 3)]
    assert list(model.split("bb")) == [(0, 2)]
    assert list(model.split("")) == []


def test_phrases_are_the_text() -> None:
    """No character is lost between phrases."""
    text = "私は東京に住んでいますが明日从北京到上海去"

    assert "".join(phrases(text)) == text
    assert len(phrases(text)) > 2


def test_neighbours_with_kana_are_one_phrase() -> None:
    """Phrases of Japanese stay together; a lone first character joins the next phrase."""
    assert phrases("これはペンですそれもペンです") == ["これはペンですそれもペンです"]
    assert all(len(phrase) > 1 for phrase in phrases("我今天很高兴"))
