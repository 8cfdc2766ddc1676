"""What an evaluation found, for people: one offline HTML file, and a few lines for the terminal."""

from petmood.report.render import write_report
from petmood.report.texts import summary_lines

__all__ = ["summary_lines", "write_report"]
