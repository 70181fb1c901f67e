"""The text frontend: time to the first sentence, sentences per second, memory.

Each row is a process of its own on one core: importing the package, the first sentence (its
language loads), then N different sentences through the whole frontend (markup, segmentation,
languages, phonemes, ids) in the language's mode; memory is what is resident at the end.

    python bench/frontend.py
    python bench/frontend.py --languages zh en --sentences 2000
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import sentences as made_up

# Words that no dictionary has: the first one loads word counts and the network.
_UNKNOWN_WORDS = "The blorptastic machinelearning of Zyxwvutia."
# As many HTTP workers have them: the last rows load several languages into one process.
_ROWS = (*made_up.LANGUAGES, "zh+en", "zh+yue+en+ja+ko")


def main() -> None:
    """Measure every row in a process of its own and print a table, then one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", nargs="+", default=_ROWS, help="for example: zh en zh+en")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3, help="the best speed of these counts")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child.split("+"), args.sentences, args.repeats)))
        return
    rows = {row: _in_child(row, args) for row in args.languages}
    print(
        f"{'languages':17}{'import s':>9}{'first s':>9}{'sentences/s':>13}{'RSS MiB':>9}{'+ unknown':>11}"
    )
    for name, row in rows.items():
        speeds = " ".join(f"{speed:.0f}" for speed in row["sentences_per_s"].values())
        print(
            f"{name:17}{row['import_s']:9.2f}{row['first_s']:9.2f}{speeds:>13}{row['rss_mib']:9.0f}"
            f"{row['rss_after_unknown_words_mib']:11.0f}"
        )
    import workloads  # loads torch, which the children must not

    workloads.print_json(benchmark="frontend", rows=rows, **workloads.environment("cpu"))


def _in_child(row: str, args: argparse.Namespace) -> dict[str, object]:
    command = [sys.executable, __file__, "--child", row, "--sentences", str(args.sentences)]
    done = subprocess.run(
        [*command, "--repeats", str(args.repeats)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def measure(languages: list[str], count: int, repeats: int) -> dict[str, object]:
    """Load the languages into this process and read sentences in each."""
    begin = time.perf_counter()
    from sovits_serve.frontend.text_frontend import TextFrontend

    imported = time.perf_counter()
    frontend = TextFrontend("v2")
    for language in languages:
        frontend.segments(made_up.sentences(language, 1, seed=1)[0], language)
    first = time.perf_counter()
    speeds = {name: _speed(frontend, name, count, repeats) for name in languages}
    heavy = sorted({"torch", "transformers", "nltk"} & sys.modules.keys())
    assert not heavy, f"loaded: {heavy}"
    resident = _resident_bytes()
    before = time.perf_counter()
    if "en" in languages:
        frontend.segments(_UNKNOWN_WORDS, "en")
    after = time.perf_counter()
    return {
        "import_s": imported - begin,
        "first_s": first - imported,
        "sentences_per_s": speeds,
        "rss_mib": resident / 2**20,
        "unknown_words_s": after - before,
        "rss_after_unknown_words_mib": _resident_bytes() / 2**20,
    }


def _speed(frontend: object, language: str, count: int, repeats: int) -> float:
    best = 0.0
    for repeat in range(repeats):
        texts = made_up.sentences(language, count, seed=2 + repeat)
        begin = time.process_time()
        for text in texts:
            frontend.segments(text, language)
        best = max(best, count / (time.process_time() - begin))
    return best


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    main()
