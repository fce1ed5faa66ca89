"""A trainer that is distributed over two processes of the CPU, as ultralytics distributes one over two GPUs."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
from torch import distributed, nn
from ultralytics.utils import LOCAL_RANK, RANK
from ultralytics.utils.torch_utils import unwrap_model

from src.detector.trainer import ResumableTrainer


class OnTwoProcesses(ResumableTrainer):
    """Replaces the trainer, because ultralytics counts CUDA devices, uses NCCL and passes a device index."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.world_size = 2
        self.ddp = LOCAL_RANK == -1

    def _setup_ddp(self) -> None:
        distributed.init_process_group("gloo", rank=RANK, world_size=self.world_size)

    def _setup_train(self) -> None:
        parallel = nn.parallel.DistributedDataParallel

        def on_the_cpu(module: nn.Module, device_ids: Any, **options: Any) -> nn.Module:
            return parallel(module, **options)

        with mock.patch.object(nn.parallel, "DistributedDataParallel", on_the_cpu):
            super()._setup_train()

    def final_eval(self) -> None:
        """Save the weights that this process has trained beside the checkpoint."""
        assert self.criterion
        images = len(self.train_loader.sampler)
        learned = {**unwrap_model(self.model).state_dict(), **self.criterion.learned.state_dict()}
        torch.save((images, learned), self.extras.checkpoint.with_name(f"process-{RANK}.pt"))
