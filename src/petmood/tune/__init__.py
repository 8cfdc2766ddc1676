"""Tuning: many short trainings on one work folder, led by Optuna; what comes out is a recipe."""

from petmood.tune.search import TuneSummary, tune
from petmood.tune.study import TrialRow

__all__ = ["TrialRow", "TuneSummary", "tune"]
