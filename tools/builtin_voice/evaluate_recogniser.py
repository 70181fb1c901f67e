"""Which of twenty sentences was said? Asked of pocketsphinx, a recogniser that is not trained here.

The grammar is the sentences of one group, the search is wide, and there is silence with a little
noise around: with its own narrow search the recogniser loses the ends of synthetic speech. English
only, as its model is.
"""

import re
from collections.abc import Sequence

import numpy as np

from sovits_serve.audio.resample import soxr_resample
from tools.builtin_voice import teacher
from tools.builtin_voice.evaluate_speech import Speech

_RATE_HZ = 16_000
_BEFORE_S, _AFTER_S = 0.3, 0.5
_NOISE = 3e-4  # -70 dBFS
_LEVEL = 0.1


class Recogniser:
    """Picks one of a group of sentences; needs the package ``pocketsphinx``."""

    def __init__(self, sentences: Sequence[str]) -> None:
        from pocketsphinx import Decoder  # ships no types

        self._decoder = Decoder(lm=None, beam=1e-120, wbeam=1e-80, pbeam=1e-120, loglevel="FATAL")
        spoken = {words_of(sentence) for sentence in sentences}
        for word in sorted({word for sentence in spoken for word in sentence.split()}):
            if self._decoder.lookup_word(word) is None:
                self._decoder.add_word(word, _pronunciation(word), True)
        rule = " | ".join(sorted(spoken))
        self._decoder.add_jsgf_string("group", f"#JSGF V1.0; grammar group; public <s> = {rule};")
        self._decoder.activate_search("group")

    def recognise(self, speech: Speech) -> str:
        """Return the words of the sentence that was heard, or "" for none of them."""
        wave = soxr_resample(speech.samples, speech.rate_hz, _RATE_HZ)
        wave = wave * (_LEVEL / max(1e-4, float(np.sqrt((wave**2).mean()))))
        padded = np.pad(wave, (int(_BEFORE_S * _RATE_HZ), int(_AFTER_S * _RATE_HZ)))
        noise = np.random.default_rng(0).standard_normal(len(padded))
        pcm = np.clip((padded + _NOISE * noise) * 32_767, -32_768, 32_767).astype("<i2")
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), no_search=False, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return "" if found is None else re.sub(r"\(\d+\)", "", found.hypstr).strip()

    def is_heard(self, speech: Speech, sentence: str) -> bool:
        """Return whether a sentence of the group is what is heard."""
        return self.recognise(speech) == words_of(sentence)


def words_of(sentence: str) -> str:
    """Return a sentence as the recogniser writes it: lower case, no signs but apostrophes."""
    return " ".join(re.findall(r"[a-z]+(?:'[a-z]+)*", sentence.lower().replace("’", "'")))


def _pronunciation(word: str) -> str:
    phonemes = (phoneme.rstrip("012") for phoneme in teacher.phonemize(word, "en"))
    return " ".join(phoneme for phoneme in phonemes if phoneme.isalpha())
