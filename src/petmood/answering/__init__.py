"""The work of `petmood predict`: inputs to answers in order, and answers to tables, drawn pictures and videos."""

from petmood.answering.answers import Answer, answer_all, open_engine, watch_camera
from petmood.answering.drawn import Artist
from petmood.answering.spread import all_boxed, answer_spread, open_looker, seen_places
from petmood.answering.tables import COLUMNS, csv_table

__all__ = [
    "COLUMNS",
    "Answer",
    "Artist",
    "all_boxed",
    "answer_all",
    "answer_spread",
    "csv_table",
    "open_engine",
    "open_looker",
    "seen_places",
    "watch_camera",
]
