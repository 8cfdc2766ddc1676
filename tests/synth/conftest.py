"""Two made-up data sets shared by the tests of `synth`."""

from __future__ import annotations

import pytest
from synth_sets import DataSet, made

from petmood.synth import SynthSettings


@pytest.fixture(scope="session")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    settings = SynthSettings(clips=48, frames=18, size="320x180", faults=0.04, seed=3)
    return made(tmp_path_factory.mktemp("damaged") / "set", settings)


@pytest.fixture(scope="session")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Many clips of two frames, emotions equally often: to ask what can be learned from what."""
    settings = SynthSettings(clips=420, frames=2, size="320x180", shares="balanced", seed=7)
    return made(tmp_path_factory.mktemp("balanced") / "set", settings)
