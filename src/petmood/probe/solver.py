"""Regularised multinomial logistic regression over standardised features, by L-BFGS (Byrd et al. 1995; scipy's).

What is minimised over the weights ``W`` and the intercepts ``b``, with a weight ``w_i`` of each row:

    sum_i w_i * cross_entropy(W x_i + b, y_i)  +  strength / 2 * |W|²

The intercepts are not pulled towards zero. Hence balanced softmax (Ren et al. 2020, arXiv 2007.10740) needs no fit of
its own. It minimises the same sum with ``log share`` added to the logits. Put ``b' = b + log share``: the sum becomes
the plain one in ``(W, b')`` and the penalty stays. So its optimum has the same ``W``, and ``b = b' - log share``.

A pass over the rows costs as much as reading them from the memory. It is done in blocks, so that a block is read once
for both products, logits and gradient.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
#: ``map``, or that of a pool.
_Map = Callable[..., Iterable[Any]]

#: Rows of a block: few MB on a processor, so that a core's cache holds them; a GPU rather wants few and large products.
_BLOCK = {"cpu": 512, "cuda": 65_536}
#: Rows that one core works on before it takes others.
_TASK = {"cpu": 4096, "cuda": 1 << 40}
#: Most passes of a fit. One that has not settled by then is only pulled more strongly towards zero.
_PASSES = 400


@dataclasses.dataclass(frozen=True)
class Head:
    """A linear classifier over standardised features: ``(x - mean) / std @ weights.T + bias`` are its logits."""

    mean: Floats
    """(features,)."""
    std: Floats
    """(features,), above 0."""
    weights: Floats
    """(classes, features), for standardised features."""
    bias: Floats
    """(classes,)."""

    def logits(self, features: Floats) -> Floats:
        """Logits, (n, classes), of raw features, (n, features)."""
        return np.asarray((features - self.mean) / self.std @ self.weights.T + self.bias, np.float32)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Rows to fit a classifier to; they stay where they are, whatever part of them is used."""

    features: torch.Tensor
    """(rows, features), float32, standardised; on the device that computes."""
    targets: torch.Tensor
    """(classes, rows), float32: the weight of each row in the line of its class, else 0."""

    @classmethod
    def of(cls, features: torch.Tensor, labels: Ints, weights: npt.NDArray[np.floating], classes: int) -> Problem:
        """A problem over standardised features; ``labels`` and ``weights`` have one entry a row."""
        targets = torch.zeros((classes, len(labels)), dtype=torch.float32)
        targets[torch.from_numpy(labels), torch.arange(len(labels))] = torch.as_tensor(weights, dtype=torch.float32)
        return cls(features, targets.to(features.device))

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.targets)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Where a minimisation ended."""

    weights: npt.NDArray[np.float64]
    """(classes, features)."""
    bias: npt.NDArray[np.float64]
    """(classes,)."""
    loss: float
    """What was minimised, divided by the sum of the weights of the rows."""
    passes: int
    """Over the rows."""

    def logits(self, problem: Problem, rows: slice) -> torch.Tensor:
        """Logits of a part of a problem's rows: (rows, classes), float32, on the processor."""
        features = problem.features[rows]
        weights = torch.as_tensor(self.weights, dtype=torch.float32, device=features.device)
        bias = torch.as_tensor(self.bias, dtype=torch.float32, device=features.device)
        return torch.addmm(bias, features, weights.T).cpu()


def fit(
    problem: Problem,
    strength: float,
    *,
    parts: Sequence[slice] = (slice(None),),
    start: Fit | None = None,
    tolerance: float = 1e-7,
) -> Fit:
    """The classifier that minimises the regularised loss.

    Args:
        problem: rows and their weights.
        strength: of the pull of the weights towards zero, above 0; scikit-learn's ``1 / C``.
        parts: of the rows that are used; all if left out.
        start: where to begin, such as the fit with the next stronger pull.
        tolerance: relative decrease of the loss at which a step is the last.
    """
    width = problem.features.shape[1]
    first = np.zeros((problem.classes, width + 1))
    if start is not None:
        first[:, :-1], first[:, -1] = start.weights, start.bias
    ranges = [part.indices(len(problem.features))[:2] for part in parts]
    total = sum(float(problem.targets[:, low:high].sum(dtype=torch.float64)) for low, high in ranges)

    def objective(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        matrix = flat.reshape(first.shape)
        loss, slope = loss_and_slope(problem, matrix, ranges, over)
        loss += strength / 2 * float((matrix[:, :-1] ** 2).sum())
        slope[:, :-1] += strength * matrix[:, :-1]
        return loss / total, slope.ravel() / total

    # The arithmetic is of 32 bits: a smaller tolerance of the slope would never be met.
    limits = {"maxiter": _PASSES, "ftol": tolerance, "gtol": 1e-6, "maxcor": 10}
    with _at_work(problem.features.device) as over:
        found = minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=limits)
    matrix = found.x.reshape(first.shape)
    return Fit(matrix[:, :-1].copy(), matrix[:, -1].copy(), float(found.fun), int(found.nfev))


@contextlib.contextmanager
def _at_work(device: torch.device) -> Iterator[_Map]:
    """A ``map`` whose calls run on all cores, each on one; a GPU takes one after the other.

    Cores that shared the work of each product would wait for each other after every block, and the longer, the more
    other programs run. Measured beside such programs on two cores: 86 ms a pass over 800 rows, against 2 ms.
    """
    if device.type == "cuda":
        yield map
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)


def loss_and_slope(
    problem: Problem, matrix: npt.NDArray[np.float64], ranges: Sequence[tuple[int, int]], over: _Map = map
) -> tuple[float, npt.NDArray[np.float64]]:
    """Weighted sum of the cross entropies of some ranges of rows, and its gradient.

    Args:
        problem: rows and their weights.
        matrix: (classes, features + 1); the last column is the intercept.
        ranges: first row and the one after the last.
        over: applies a function to parts of the rows, whose results are added in their order.

    Returns:
        the sum, and its gradient in the shape of ``matrix``.
    """
    device = problem.features.device
    weights = torch.as_tensor(matrix[:, :-1], dtype=torch.float32, device=device)
    bias = torch.as_tensor(matrix[:, -1:], dtype=torch.float32, device=device)
    size = _TASK[device.type]
    tasks = [(begin, min(begin + size, high)) for low, high in ranges for begin in range(low, high, size)]
    if len(tasks) == 1:
        over = map
    loss, gradient = 0.0, np.zeros_like(matrix)
    for part, slope in over(lambda task: _part(problem, weights, bias, task), tasks):
        loss += float(part)
        gradient += slope.cpu().numpy()
    return loss, gradient


def _part(
    problem: Problem, weights: torch.Tensor, bias: torch.Tensor, task: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of some rows, float64, and its gradient, float32 (classes, features + 1)."""
    loss = torch.zeros((), dtype=torch.float64, device=weights.device)
    slope = torch.zeros(len(weights), weights.shape[1] + 1, device=weights.device)
    size = _BLOCK[weights.device.type]
    for begin in range(*task, size):
        end = min(begin + size, task[1])
        block, target = problem.features[begin:end], problem.targets[:, begin:end]
        # Classes first: the product of a tall and a thin matrix the other way round takes half as long again.
        logs = torch.addmm(bias, weights, block.T).log_softmax(dim=0)
        loss -= (logs * target).sum(dtype=torch.float64)
        error = logs.exp_().mul_(target.sum(dim=0)).sub_(target)
        slope[:, :-1].addmm_(error, block)
        slope[:, -1] += error.sum(dim=1)
    return loss, slope
