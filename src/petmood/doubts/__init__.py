"""Clips whose label disagrees with predictions by models that have not seen them, the most doubtful first."""

from petmood.doubts.audit import audit

__all__ = ["audit"]
