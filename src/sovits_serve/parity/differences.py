"""List every recorded text that the product reads otherwise than upstream, as a Markdown table.

python -m sovits_serve.parity.differences DIR > docs/text-differences.md
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from sovits_serve.errors import ServingError
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.parity.golden import GoldenDirectory, records, text

_MODES = ("zh", "yue", "en", "ja", "ko", "auto")
_HEAD = """# Texts that are read otherwise than by upstream

Every recorded text (`frontend_modes.json`, v2 models) for which the phonemes differ in use, made by
`python -m sovits_serve.parity.differences tests/golden/data`. Each part is shown as it is read, behind its
language; (nothing) is silence. The texts were chosen to be odd. In strict mode, which is compared with
upstream, none differs. The classes and their reasons are in [parity.md](parity.md). Where the parts look
alike, the phonemes differ: a letter's name, a stress, a pitch.

| mode | text | upstream | here |
| --- | --- | --- | --- |
"""


def rows(directory: GoldenDirectory) -> Iterator[str]:
    """Yield a row for each text and mode."""
    product = TextFrontend("v2")
    for item in records(directory.json("frontend_modes.json")):
        mode = text(item["mode"])
        if mode not in _MODES or item["version"] != "v2" or "error" in item:
            continue
        source = text(item["text"])
        theirs = [(text(seg["lang"]), text(seg["norm"])) for seg in records(item["segs"])]
        try:
            segment = product.one_segment(source, mode)
        except ServingError as error:
            yield _row(mode, source, _shown(theirs), error.message)
            continue
        if list(segment.phonemized().phone_ids) != item["ids"]:
            ours = [(piece.language, piece.normalized) for piece in segment.pieces]
            yield _row(mode, source, _shown(theirs), _shown(ours))


def _shown(parts: list[tuple[str, str]]) -> str:
    return " / ".join(f"{language}: {said.strip() or '(nothing)'}" for language, said in parts)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |"


def main() -> None:
    """Print the document."""
    sys.stdout.write(_HEAD)
    for row in rows(GoldenDirectory(Path(sys.argv[1]))):
        sys.stdout.write(row + "\n")


if __name__ == "__main__":
    main()
