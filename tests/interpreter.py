"""Triton kernels without a GPU: in Triton's interpreter, slowly, with the same arithmetic."""

import os

import torch


def use_interpreter() -> None:
    """Have kernels that are imported from here on interpreted, unless there is a GPU."""
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is decorated
