"""Japanese: words, readings and accents by OpenJTalk, phonemes and prosody marks by us."""

from sovits_serve.frontend.japanese.frontend import JapaneseFrontend

__all__ = ["JapaneseFrontend"]
