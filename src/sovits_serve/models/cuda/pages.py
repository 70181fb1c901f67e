"""How keys and values lie on a CUDA device: in pages, so that a sequence takes what it has.

A layer's memory is (2, H, T, D_head): keys and values, heads, tokens of all sequences. A page is
``PAGE_TOKENS`` tokens in a row, the same ones in every layer, and one tile of the attention of
``decode_kernels``. A token's address is its place along T.
"""

PAGE_TOKENS = 128


def num_pages(num_tokens: int) -> int:
    """Return how many pages so many tokens take."""
    return -(-num_tokens // PAGE_TOKENS)
