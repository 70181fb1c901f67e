"""Look for texts that break the frontend, for as many minutes as asked.

    python -m tests.frontend.fuzz --minutes 10

Draws from all of Unicode, from real sentences of five languages, from the nasty list and from
pieces of markup, in every language mode and cut. Stops at the first text that raises anything but an
error of the caller's, gives nothing, or names a range outside the text.
"""

import argparse
import random
import sys
import time

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sovits_serve.errors import RequestError
from sovits_serve.frontend.cleaning import has_words
from sovits_serve.frontend.registry import MODES
from sovits_serve.frontend.segmentation import METHODS
from sovits_serve.frontend.text_frontend import TextFrontend
from tests.frontend.nasty import WITH_WORDS

FRONTENDS = {version: TextFrontend(version) for version in ("v1", "v2")}
SENTENCES = (
    "今天天气很好，我们去公园散步吧。",
    "我哋今晚去食飯，你嚟唔嚟呀？",
    "The quick brown fox didn't jump over 13 lazy dogs.",
    "明日は東京タワーに行きたいです。",
    "오늘은 날씨가 정말 좋네요!",
    "2024年3月15日 $5.50 3:30pm 100% 1,234.5kg",
    "小院儿里有个小孩儿在玩儿，一不小心摔了一跤。",
    "Dr. Smith's e-mail is a.b@example.com (see https://example.com/?q=1).",
    "「はい」と言って、3.5％の㌔を1,000円で買った。",
    "3시간 동안 20~30명이 100km를 걸었다.",
)
MARKUP = (
    '<break time="700ms"/>',
    "<break time='x'/>",
    '<phoneme py="hang2">行</phoneme>',
    "<phoneme",
    "[银行|yin2 hang2]",
    "[tomato|T AH0 M EY1 T OW0]",
    "[東京|トーキョー]",
    "[읽다|익따]",
    "[a|",
    "\\[",
    "]",
)
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.text(st.characters(categories=["L", "M", "N", "S"]), max_size=8),
        st.text("0123456789.,:/-+%￥$^~°℃ 年月日时点分kgm", max_size=16),
        st.sampled_from(SENTENCES),
        st.sampled_from(SENTENCES).map(lambda text: text[::2]),
        st.sampled_from(MARKUP),
        st.sampled_from(list(WITH_WORDS.values())).map(lambda text: text[:60]),
    ),
    max_size=6,
).map("".join)


def check(text: str, mode: str, cut: str, version: str) -> None:
    """Read one text and check what must hold for every text."""
    try:
        segments = FRONTENDS[version].segments(text, mode, cut=cut)
    except RequestError:
        return
    assert segments
    assert has_words(text)
    for segment in segments:
        assert segment.phonemized().phone_ids
        assert all(0 <= start <= end <= len(text) for start, end in segment.origins)
        for span in segment.phonemized().spans:
            assert len(span.text) == len(span.phonemes_per_character)


def run(count: int, start: int) -> None:
    """Check some thousand texts drawn from one seed."""
    seeded = seed(start)(
        settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(
            given(
                TEXTS,
                st.sampled_from(MODES),
                st.sampled_from(METHODS),
                st.sampled_from(["v1", "v2", "v2", "v2"]),
            )(check)
        )
    )
    seeded()


def main() -> None:
    """Fuzz until the time is over; what is found ends the program with its example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    rounds = 0
    while time.monotonic() < end:
        run(1000, args.seed + rounds)
        rounds += 1
    sys.stdout.write(f"fuzz: {rounds} 000 texts from seed {args.seed}, nothing found\n")


if __name__ == "__main__":
    main()
