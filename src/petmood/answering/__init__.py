"""The work of `petmood predict`: inputs to answers in order, and answers to tables, drawn pictures and videos."""

from petmood.answering.answers import Answer, answer_all, open_engine, watch_camera
from petmood.answering.drawn import Artist
from petmood.answering.tables import COLUMNS, csv_table

__all__ = ["COLUMNS", "Answer", "Artist", "answer_all", "csv_table", "open_engine", "watch_camera"]
