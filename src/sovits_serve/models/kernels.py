"""Which of torch's kernels a process uses: those that compute the same bits every time."""

import torch


def use_exact_kernels() -> None:
    """Choose kernels for the whole process: full float32, and the same bits on every run.

    TF32 rounds float32 inputs to 10 bits. cuDNN's attention, torch's first choice in half
    precision on Hopper, gives other bits from one run to the next with the same inputs (H100, torch
    2.11): then seeded tokens repeat neither in another batch nor alone.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.enable_cudnn_sdp(False)
