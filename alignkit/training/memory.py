"""Give memory back that large arrays have left."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 2 * 1024 * 1024


def return_large_blocks() -> None:
    """From here on the C library returns each large array's memory when it is freed; outside glibc nothing is done.

    glibc by itself raises the size that counts as large up to 32 MB: batches then come from one heap, where small
    numbers that live longer sit between the holes that they leave. Of a run on 2 GB of files the peak was 1.9 GB that
    way, and 0.9 GB this way.
    """
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    except (OSError, AttributeError):  # another C library
        return
