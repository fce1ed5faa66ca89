"""The device and the threads that computation runs on."""

from __future__ import annotations

import torch
from ultralytics.utils import torch_utils

from src.errors import UserError


def settle(device: str, threads: int) -> str:
    """Fix the number of CPU threads for torch and return the device under ultralytics' name: "cpu" or a CUDA index.

    Sums are split among threads, so results depend on their number in the last digits.

    Args:
        device: "auto" (the first GPU if there is one, else the CPU), "cpu", or a CUDA index.
        threads: of torch on the CPU.

    Raises:
        UserError: the device is not there.
    """
    torch.set_num_threads(threads)
    # ultralytics sets the number anew, from the machine's cores, whenever it selects a device.
    torch_utils.NUM_THREADS = threads
    if device == "auto":
        return "0" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and not (device.isdigit() and int(device) < torch.cuda.device_count()):
        count = torch.cuda.device_count()
        raise UserError(f"device must be auto, cpu or the index of one of {count} CUDA devices, got {device}")
    return device
