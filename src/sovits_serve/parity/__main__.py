"""The command behind ``scripts/parity``: compare our code with recorded upstream data."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from sovits_serve.parity.limits import Precision
from sovits_serve.parity.report import Report
from sovits_serve.parity.runner import UsageError, run

_BAD_USAGE = 2
_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 passed, 1 failed, 2 bad usage."""
    options = _parser().parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        return _refuse("--device cuda: this machine has no CUDA device")
    precision = Precision(torch.device(options.device), _DTYPES[options.dtype])
    try:
        return run(options.directory, precision, Report(), only=options.only)
    except UsageError as error:
        return _refuse(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parity",
        description="Run the goldens of a directory through this package and print one JSON "
        "line per check. Exit status: 0 all passed, 1 a check failed, 2 bad usage.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="directory of golden files")
    parser.add_argument(
        "--only",
        action="extend",
        nargs="+",
        default=[],
        metavar="GLOB",
        help="check only goldens whose name or file matches, such as 't2s_*' or e2e_r1_v2_zh.npz",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=tuple(_DTYPES), default="float32")
    return parser


def _refuse(message: str) -> int:
    print(f"parity: {message}", file=sys.stderr)
    return _BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
