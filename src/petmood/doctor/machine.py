"""What the machine has for the training: numbers it computes in, time, disk and memory."""

from __future__ import annotations

import resource
import shutil
import sys
from pathlib import Path

from petmood.doctor.records import Check
from petmood.doctor.work import Work
from petmood.model import EmotionNet
from petmood.recipes import TrainSettings
from petmood.train.bottleneck import bottleneck
from petmood.train.optimise import Device

#: Checkpoint files that exist at once: last, previous, best, and one that is being written.
_CHECKPOINTS = 4
#: Memory that is left free for everything else, in bytes.
_SPARE = 512 << 20
#: Hours an epoch from which on something should be changed.
_HOURS = 8.0
#: Pictures a second in validation, which has no backward pass, as a multiple of those in training.
_VALIDATION = 3.0
#: Share of the time spent waiting for pictures from which on the loader holds the training up.
_HELD_UP = 0.1
_FULL = 0.92


def check_precision(work: Work) -> Check:
    """Whether a GPU computes in the short numbers that it is made for."""
    return judge_precision(work.settings, work.loop.device)


def judge_precision(settings: TrainSettings, device: Device) -> Check:
    """The verdict on the number format."""
    slow = device == "cuda" and settings.precision == "32"
    return Check(
        name="precision",
        verdict="warn" if slow else "ok",
        evidence=f"--precision {settings.precision} on {device}" + ": single precision, about half the speed" * slow,
        remedy="leave it to --precision auto: 16 bits with single-precision weights" if slow else "",
        numbers={"precision": settings.precision, "device": device},
    )


def check_loader(work: Work) -> Check:
    """Whether pictures come faster than the network takes them."""
    trial = work.trial
    return judge_loader(trial.waiting, trial.rate, work.settings, work.loop.device)


def judge_loader(waiting: float, rate: float, settings: TrainSettings, device: Device) -> Check:
    """The verdict on loader and network (``train.bottleneck``)."""
    told = bottleneck(waiting, rate, settings, device)
    evidence, _, advice = told.partition(". Faster: ")
    slow = waiting >= _HELD_UP
    return Check(
        name="loader",
        verdict="warn" if slow else "ok",
        evidence=evidence,
        remedy=advice if slow else "",
        numbers={"waiting": waiting, "pictures_per_second": rate},
    )


def check_projected_time(work: Work) -> Check:
    """How long an epoch takes at the measured rate."""
    loop = work.loop
    return judge_time(len(loop.sampler), len(loop.val), work.trial.rate, work.settings, loop.device)


def judge_time(shown: int, validated: int, rate: float, settings: TrainSettings, device: Device) -> Check:
    """The verdict on the hours of a training.

    Args:
        shown: pictures of an epoch.
        validated: pictures of the validation split.
        rate: pictures a second in training.
        settings: of the training.
        device: on which it was measured.
    """
    hours = (shown + validated / _VALIDATION) / rate / 3600
    long = hours > _HOURS
    advice = bottleneck(0.0, rate, settings, device).partition(". Faster: ")[2]
    fewer = f"show fewer frames (--frames-per-clip {max(1, settings.frames_per_clip // 2)})"
    return Check(
        name="projected-time",
        verdict="warn" if long else "ok",
        evidence=f"{_duration(hours)} an epoch of {shown:,} pictures at {rate:,.0f} a second, at most "
        f"{_duration(hours * settings.epochs)} for {settings.epochs} epochs",
        remedy=f"fit a probe first (`petmood train WORK --recipe probe`); {fewer}; {advice}" if long else "",
        numbers={"hours_an_epoch": hours, "epochs": settings.epochs, "pictures": shown, "pictures_per_second": rate},
    )


def check_disk(work: Work) -> Check:
    """Whether checkpoints fit on the disk."""
    return judge_disk(checkpoint_bytes(work.loop.module.net, work.settings), _free(work.workspace.root))


def judge_disk(checkpoint: int, free: int) -> Check:
    """The verdict on the disk, from the bytes of one checkpoint and those that are free."""
    needed = _CHECKPOINTS * checkpoint
    verdict = "fail" if free < needed else "warn" if free < 3 * needed else "ok"
    return Check(
        name="disk",
        verdict=verdict,  # type: ignore[arg-type]
        evidence=f"{free / 1e9:,.1f} GB are free; checkpoints of this training take up to {needed / 1e9:,.2f} GB",
        remedy="" if verdict == "ok" else "free some space, or remove old runs (`petmood runs WORK` lists them)",
        numbers={"free": free, "needed": needed},
    )


def check_memory(work: Work) -> Check:
    """Whether the main memory, and that of a GPU, are enough."""
    checkpoint = checkpoint_bytes(work.loop.module.net, work.settings)
    share = 0.0 if work.brief else work.trial.device_share
    return judge_memory(available_memory(), checkpoint, peak_memory(), share)


def judge_memory(available: int | None, checkpoint: int, peak: int, device_share: float) -> Check:
    """The verdict on the memory.

    Args:
        available: bytes that are free, or None if the system does not say.
        checkpoint: bytes of a checkpoint, which is held while it is written.
        peak: bytes that this process has had at once.
        device_share: share of a GPU's memory that some steps took.
    """
    needed = checkpoint + _SPARE
    short = available is not None and available < needed
    full = device_share > _FULL
    free = "an unknown amount is" if available is None else f"{available / 1e9:,.1f} GB are"
    remedies = ["end other programs, or take a smaller --model"] * short
    remedies += ["a smaller --batch-size (`petmood find-batch-size WORK`)"] * full
    return Check(
        name="memory",
        verdict="fail" if short else "warn" if full else "ok",
        evidence=f"{free} free beside the {peak / 1e9:,.1f} GB that the doctor took; a checkpoint needs "
        f"{checkpoint / 1e9:,.2f} GB" + f"; {device_share:.0%} of the GPU's memory was taken" * (device_share > 0),
        remedy="; ".join(remedies),
        numbers={"available": available, "checkpoint": checkpoint, "peak": peak, "device_share": device_share},
    )


def checkpoint_bytes(net: EmotionNet, settings: TrainSettings) -> int:
    """Size of a checkpoint: weights, a running mean of them if there is one, and two moments of what is trained."""
    weights = sum(tensor.nbytes for tensor in net.state_dict().values())
    trained = sum(p.nbytes for p in net.parameters() if p.requires_grad)
    return weights * (2 if settings.ema else 1) + 2 * trained


def available_memory() -> int | None:
    """Bytes that programs may still take (Linux, also within a container); None where the system does not say."""
    found = [_of_system(), _of_container()]
    return min((number for number in found if number is not None), default=None)


def peak_memory() -> int:
    """Bytes that this process has had in main memory at once."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _of_system() -> int | None:
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_container() -> int | None:
    """What a limit on the group of processes leaves, if there is one."""
    folder = Path("/sys/fs/cgroup")
    try:
        most, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    return None if most == "max" else int(most) - int(used) + int(cached.get("inactive_file", 0))


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:,.0f} min" if hours * 60 >= 1 else f"{hours * 3600:,.0f} s"
