"""Draw the rows of several reports of bench/compare.py as one picture.

python bench/plot.py docs/figures/h200-v2.json docs/figures/h200-upstream.json --out h200.png
"""

import argparse
import json
from pathlib import Path

from compare_report import plot


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    plot(args.out, [row for path in args.reports for row in json.loads(path.read_text())["rows"]])


if __name__ == "__main__":
    main()
