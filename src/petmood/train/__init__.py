"""Training: crops of a workspace → a run folder with logs, checkpoints and a model that describes itself."""

from petmood.runfolder import read_config
from petmood.train.run import TrainSummary, train

__all__ = ["TrainSummary", "read_config", "train"]
