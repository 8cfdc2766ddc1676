"""What the doctor found: one record a check."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Verdict = Literal["ok", "warn", "fail", "skipped"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One question that was asked of the data or the run, with its answer."""

    name: str
    """Stable slug for scripts, such as ``leakage``."""
    verdict: Verdict
    """``fail`` makes a run lie or fail; ``warn`` costs time or accuracy, or needs a look; ``skipped`` could not be
    asked here."""
    evidence: str
    """What was seen, with numbers, in one sentence or two."""
    remedy: str = ""
    """What to do, with the command or option; empty if nothing is wrong."""
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The evidence for scripts, in plain values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All checks of one work folder or run, in the order in which they were made."""

    subject: str
    """The folder."""
    checks: tuple[Check, ...]
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return any(check.verdict == "fail" for check in self.checks)
