"""The life of a work folder after it was made: what it holds, what is stale and why, and how to free space safely."""

from petmood.upkeep.clean import Cleaned, clean
from petmood.upkeep.records import Freeable, RunStatus, StageStatus, WorkStatus
from petmood.upkeep.status import status

__all__ = ["Cleaned", "Freeable", "RunStatus", "StageStatus", "WorkStatus", "clean", "status"]
