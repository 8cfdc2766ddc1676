"""A network that only answers, as fast as the machine allows: batch norms folded away, cores that do not wait."""

from __future__ import annotations

import collections
import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_Result = TypeVar("_Result")

#: Pictures that a core of a processor sends through the network at once: what passes from layer to layer then stays in
#: its caches. More than twice as fast as 64 (docs/benchmarks.md).
_PICTURES_AT_ONCE = 4
#: Largest difference that folding may make, as a share of the largest output.
_FOLDING_TOLERANCE = 1e-4


def folded(network: nn.Module, example: torch.Tensor) -> nn.Module:
    """A copy of a network in evaluation mode in which batch norms are part of the convolutions before them.

    Answers are the same but for rounding, and a batch norm's pass over the memory is saved. Which norm follows which
    convolution is seen on the way of an example, whatever the network's code looks like. Where the copy answers
    differently (a convolution's output is used elsewhere, too), the network itself is returned.

    Args:
        network: on the processor, in evaluation mode.
        example: a batch of one picture, float 1 × 3 × height × width; only its shape matters.
    """
    copied = copy.deepcopy(network)
    for name, norm, convolution in _norms_behind_convolutions(copied, example):
        fused = fuse_conv_bn_eval(convolution, norm)
        convolution.weight, convolution.bias = fused.weight, fused.bias
        # timm's norms hold the activation that follows them.
        rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        copied.set_submodule(name, rest.eval())
    copied = copied.to(memory_format=torch.channels_last)
    picture = torch.empty_like(example).normal_(generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = network(picture), copied(picture)
    return copied if (before - after).abs().max() <= _FOLDING_TOLERANCE * before.abs().max() else network


def _norms_behind_convolutions(
    network: nn.Module, example: torch.Tensor
) -> list[tuple[str, nn.BatchNorm2d, nn.Conv2d]]:
    """Name of each batch norm that takes what a convolution gives, with both; each of them is used once."""
    given: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}
    uses: collections.Counter[nn.Module] = collections.Counter()
    pairs: list[tuple[nn.BatchNorm2d, nn.Conv2d]] = []

    def after_convolution(module: nn.Conv2d, _: object, output: torch.Tensor) -> None:
        uses[module] += 1
        if type(module) in (nn.Conv2d, Conv2dSame):  # other kinds may do more than the convolution
            given[id(output)] = (module, output)  # kept, so that no other tensor takes its place

    def before_norm(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        uses[module] += 1
        if isinstance(module, nn.BatchNorm2d) and module.track_running_stats and id(inputs[0]) in given:
            pairs.append((module, given[id(inputs[0])][0]))

    hooks: list[Any] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after_convolution))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(before_norm))
    with torch.inference_mode():
        network(example)
    for hook in hooks:
        hook.remove()
    names = {module: name for name, module in network.named_modules()}
    return [(names[norm], norm, made) for norm, made in pairs if uses[norm] == 1 and uses[made] == 1]


@contextlib.contextmanager
def on_cores(
    function: Callable[[torch.Tensor], _Result],
) -> Iterator[Callable[[torch.Tensor], Iterable[_Result]]]:
    """A function that applies ``function`` to a few pictures of a batch at a time and gives the results in order.

    Each core has pictures of its own. Cores that share the work of a layer wait for each other after each of them,
    which takes many times as long as soon as another program runs.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield lambda pictures: pool.map(function, pictures.split(_PICTURES_AT_ONCE))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)  # part of what the initializer set is the whole process's
