"""Triton's own Philox, to compare ours with; importable only where Triton is."""

import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # CUDA only
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]


@triton.jit  # type: ignore[untyped-decorator]  # triton ships no types
def philox_kernel(out, seed, position, segment, domain, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write the four words of WIDTH lanes."""
    lane = tl.arange(0, WIDTH)
    zero = lane * 0
    words = tl.philox(seed, lane, zero + position, zero + segment, zero + domain)
    for index in tl.static_range(4):
        tl.store(out + index * WIDTH + lane, words[index])
