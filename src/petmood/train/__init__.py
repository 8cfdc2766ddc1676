"""Training: crops of a workspace → a run folder with logs, checkpoints and a model that describes itself."""

from petmood.train.run import TrainSummary, read_config, train

__all__ = ["TrainSummary", "read_config", "train"]
