"""Products in Triton's interpreter whose rounding depends on the numbers alone."""

import numpy as np
import pytest


def use_exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let products of tiles be computed in float64 and rounded once, where there is no GPU.

    Numpy's float32 products round differently from one place in a tile to another; a GPU's do not.
    """
    interpreter = pytest.importorskip("triton.runtime.interpreter")

    def create_dot(_self, a, b, total, *_options):
        product = np.matmul(a.data.astype(np.float64), b.data.astype(np.float64))
        rounded = (product + total.data).astype(total.data.dtype)
        return interpreter.TensorHandle(rounded, total.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", create_dot)
