"""Zip archives, read where they lie: what one holds as a compact table, and any member's bytes, checked.

Own code and not `zipfile`, as that holds an object a member, refuses an archive whose directory is lost, and lets
through what petmood refuses. The format is PKWARE's APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

from petmood.archives.archive import Archive
from petmood.archives.table import Content

__all__ = ["Archive", "Content"]
