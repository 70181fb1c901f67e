"""The fast path of a CUDA device: Triton kernels and graphs beside the simple PyTorch modules.

Nothing here is imported on other devices; the modules under ``models`` are what it is tested by.
"""
