"""The long form from the command line; ``scripts/chaos`` starts it."""

import argparse
import json
import sys

from tests.chaos.storm import run_storm


def main() -> int:
    """Run it; 1 if anything was wrong. The last line of the output is the result as JSON."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=int, default=0, help="of load and faults (0)")
    parser.add_argument("--engines", type=int, default=2, help="fake engines (2)")
    asked = parser.parse_args()
    report = run_storm(minutes=asked.minutes, seed=asked.seed, num_engines=asked.engines)
    sys.stdout.write(json.dumps(report.as_dict()) + "\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
