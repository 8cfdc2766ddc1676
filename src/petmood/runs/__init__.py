"""Runs beside each other: what a work folder has, and whether one run is really better than another. Runs no model."""

from petmood.runs.comparing import Comparison, EmotionDifference, Side, compare_runs
from petmood.runs.listing import DATA, JudgedScores, Run, RunTable, Sort, list_runs, read_run

__all__ = [
    "DATA",
    "Comparison",
    "EmotionDifference",
    "JudgedScores",
    "Run",
    "RunTable",
    "Side",
    "Sort",
    "compare_runs",
    "list_runs",
    "read_run",
]
