"""The device and the threads that computation runs on."""

from __future__ import annotations

import torch
from ultralytics.utils import torch_utils

from src.foundation.errors import SettingError


def settle(device: str, threads: int) -> str:
    """Set the number of CPU threads for torch and return the device in ultralytics' notation: "cpu" or CUDA indices.

    Sums are split among threads, so the last digits of results depend on the number of threads.

    Args:
        device: "auto" (the first GPU if there is one, else the CPU), "cpu", a CUDA index, or several with commas.
        threads: number of threads of torch on the CPU.

    Raises:
        SettingError: the device does not exist.
    """
    torch.set_num_threads(threads)
    # ultralytics sets the number again, from the machine's cores, whenever it selects a device.
    torch_utils.NUM_THREADS = threads
    if device == "auto":
        return "0" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count()
    if device != "cpu" and not all(index.isdigit() and int(index) < count for index in device.split(",")):
        raise SettingError(
            "device", f"must be auto, cpu or indices of {count} CUDA devices such as 0 or 0,1, got {device}"
        )
    return device
