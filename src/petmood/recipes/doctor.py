"""The settings of the doctor, apart from ``doctor``: it imports torch, --help must not."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DoctorSettings:
    """Which questions are asked."""

    only: str = ""
    """Names of the checks to make, with commas between; all if left out."""
    brief: bool = False
    """Only what takes seconds, as at the start of `petmood train`."""

    @property
    def names(self) -> frozenset[str]:
        """Names in ``only``; none if all are meant."""
        return frozenset(name.strip() for name in self.only.split(",")) - {""}
