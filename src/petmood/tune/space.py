"""What is searched, and how settings of training come of a point in that space.

The number of frames and epochs is left out on purpose: more of them means a longer training, which would win for that
reason alone. So is what corrects for rare emotions: it decides which mistakes are made, not how many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.recipes.tuning import Tuned
from petmood.settings import build, to_plain

Space = Mapping[str, FloatDistribution | IntDistribution]


def search_space(base: TrainSettings, search: Sequence[Tuned] = ()) -> Space:
    """Setting → range, for the settings asked for (all if none are named).

    The learning rate's range is a factor of ten around that of ``base``; the others are fixed. Rates and decays are
    searched by their logarithm. Without trainable blocks there is no layer decay to search.

    Raises:
        UserError: nothing is left to search.
    """
    rate = base.learning_rate
    ranges: dict[str, FloatDistribution | IntDistribution] = {
        "learning_rate": FloatDistribution(rate / 10, rate * 10, log=True),
        "weight_decay": FloatDistribution(1e-4, 0.3, log=True),
        "layer_decay": FloatDistribution(0.6, 1.0),
        "label_smoothing": FloatDistribution(0.0, 0.2),
        "dropout": FloatDistribution(0.0, 0.5),
        "min_scale": FloatDistribution(0.3, 1.0),
        "rand_augment": IntDistribution(0, 15),
        "mixup": FloatDistribution(0.0, 0.4),
    }
    if base.freeze == "backbone":
        del ranges["layer_decay"]
    wanted = {name.replace("-", "_") for name in search} or set(ranges)
    found = {name: each for name, each in ranges.items() if name in wanted}
    if not found:
        raise UserError(
            "search layer-decay has nothing to search: the backbone is frozen.", hint="name another setting"
        )
    return found


def start_point(base: TrainSettings, space: Space) -> dict[str, Any]:
    """The settings of ``base`` themselves, moved into their ranges: the first trial."""
    return {name: min(max(getattr(base, name), each.low), each.high) for name, each in space.items()}


def settings_at(base: TrainSettings, point: Mapping[str, Any]) -> TrainSettings:
    """Settings of training at a point of the space, to three significant digits."""
    rounded = {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in point.items()}
    return build(TrainSettings, {**to_plain(base), **rounded}, where="search")
