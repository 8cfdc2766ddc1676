"""A trained run as one file that needs no petmood: written, then checked on real crops before anybody may use it."""

from petmood.export.run import Exported, answers, export

__all__ = ["Exported", "answers", "export"]
