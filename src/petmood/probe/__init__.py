"""The probe: a classifier on the features of a backbone that stays as it is, fitted in seconds."""

from petmood.probe.run import ProbeSummary, probe

__all__ = ["ProbeSummary", "probe"]
