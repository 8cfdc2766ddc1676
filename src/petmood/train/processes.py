"""Several processes that train one network: how many there are, who started them, and what Lightning needs for it."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Literal

import timm.layers
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.train.optimise import Device

#: Pictures of a batch that each process must have at least: batch norm cannot train on one.
_LEAST = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of one training: one for each device."""

    devices: int = 1
    """Of each machine."""
    nodes: int = 1
    """Machines."""
    started_by: Literal["petmood", "torchrun", "SLURM"] = "petmood"

    @property
    def world(self) -> int:
        """All of them."""
        return self.devices * self.nodes

    def strategy(self) -> str | DDPStrategy:
        """How Lightning joins them."""
        return DDPStrategy(gradient_as_bucket_view=True) if self.world > 1 else "auto"

    def plugins(self, device: Device) -> list[Any]:
        """What Lightning must do in our way: join batch norms across GPUs; leave it to SLURM to queue a job again."""
        parts: list[LayerSync | ClusterEnvironment] = []
        if self.world > 1 and device == "cuda":
            parts.append(SyncBatchNorms())
        if self.started_by == "SLURM":
            parts.append(SLURMEnvironment(auto_requeue=False))
        return parts


class SyncBatchNorms(LayerSync):
    """Batch norms that take their statistics over all processes (GPUs only).

    Lightning's own way takes torch's converter, which loses the activation that timm keeps in its batch norms.
    """

    def apply(self, model: torch.nn.Module) -> torch.nn.Module:
        """The network with such norms, in place; names of weights do not change."""
        converted: torch.nn.Module = timm.layers.convert_sync_batchnorm(model)
        return converted

    def revert(self, model: torch.nn.Module) -> torch.nn.Module:
        """The network as it is: in evaluation these norms are as any other."""
        return model


def is_first() -> bool:
    """Whether this is the process that writes files and talks; all others only compute."""
    return int(rank_zero_only.rank) == 0


def plan_processes(settings: TrainSettings, device: Device) -> Processes:
    """The processes that a training is to have, by the settings or by what started this process.

    Raises:
        UserError: settings and launcher disagree, there are not so many GPUs, or a batch cannot be divided by them.
    """
    processes = _launched(settings) or _own(settings, device)
    available = torch.cuda.device_count() if device == "cuda" else processes.devices
    if processes.devices > available:
        raise UserError(
            f"devices {processes.devices} are asked for on each machine; found are {available} GPUs.",
            hint="give fewer --devices, or --devices 0 for all",
        )
    size, world = settings.batch_size, processes.world
    if size % world or (world > 1 and size < _LEAST * world):
        fitting = max(_LEAST * world, round(size / world) * world)
        raise UserError(
            f"batch-size {size} cannot be divided by {world} processes; each needs the same number of pictures, "
            f"{_LEAST} or more.",
            hint=f"try --batch-size {fitting}",
        )
    return processes


def process_notes(processes: Processes, settings: TrainSettings, device: Device) -> list[str]:
    """What the user should know about a training in several processes."""
    if processes.world > 1 and device == "cpu" and not settings.freeze_norms:
        return [
            f"each of the {processes.world} processes normalises by its own part of a batch, because torch joins batch "
            "norms on GPUs only; with --freeze-norms the result does not depend on the number of processes"
        ]
    return []


def _launched(settings: TrainSettings) -> Processes | None:
    """Those that torchrun or SLURM has started, if it was one of them."""
    environment = os.environ
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        world, local = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        found = Processes(devices=local, nodes=world // local, started_by="torchrun")
        return _agreeing(found, settings, per_machine="--nproc-per-node")
    if "SLURM_NTASKS" not in environment or SLURMEnvironment.job_name() in {"bash", "interactive"}:
        return None
    tasks, per_node = int(environment["SLURM_NTASKS"]), environment.get("SLURM_NTASKS_PER_NODE")
    if tasks > 1 and per_node is None:
        raise UserError(
            f"SLURM has started {tasks} tasks without saying how many on each machine.",
            hint="give sbatch --ntasks-per-node (one task a GPU) instead of --ntasks",
        )
    devices = int(per_node or 1)
    found = Processes(devices=devices, nodes=max(1, tasks // devices), started_by="SLURM")
    return _agreeing(found, settings, per_machine="--ntasks-per-node")


def _agreeing(found: Processes, settings: TrainSettings, *, per_machine: str) -> Processes:
    """The launcher's processes, unless the settings ask for others; their defaults ask for nothing."""
    if settings.devices not in {0, 1, found.devices} or settings.nodes not in {1, found.nodes}:
        raise UserError(
            f"devices {settings.devices} on nodes {settings.nodes} are asked for; {found.started_by} has started "
            f"{found.devices} processes on each of {found.nodes} machines.",
            hint=f"leave out --devices and --nodes, or give {found.started_by} {per_machine} {settings.devices}",
        )
    return found


def _own(settings: TrainSettings, device: Device) -> Processes:
    if settings.nodes > 1:
        raise UserError(
            f"nodes {settings.nodes} are asked for, but nothing has started petmood on them.",
            hint="start it on each machine by torchrun or by SLURM's srun, see docs/guide/resume-and-clusters.md",
        )
    every = torch.cuda.device_count() if device == "cuda" else 1
    return Processes(devices=settings.devices or every)
