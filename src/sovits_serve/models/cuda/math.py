"""Functions of float32 as torch computes them on CUDA, to the bit; in Triton's interpreter as numpy does."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

_IS_INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def exp(x):
    """Return e to the x."""
    if _IS_INTERPRETED:
        return tl.exp(x)
    else:  # noqa: RET505 -- one of the two is compiled
        return libdevice.exp(x)


@triton.jit
def log(x):
    """Return the natural logarithm."""
    if _IS_INTERPRETED:
        return tl.log(x)
    else:  # noqa: RET505
        return libdevice.log(x)


@triton.jit
def sin(x):
    """Return the sine."""
    if _IS_INTERPRETED:
        return tl.sin(x)
    else:  # noqa: RET505
        return libdevice.sin(x)


@triton.jit
def cos(x):
    """Return the cosine."""
    if _IS_INTERPRETED:
        return tl.cos(x)
    else:  # noqa: RET505
        return libdevice.cos(x)
