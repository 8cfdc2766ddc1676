"""The one way from pictures and videos to answers: find each animal, cut it out as in training, ask, read the answer.

The command line and the server use ``Looker``, whether torch or an exported file computes the answers.
"""

from petmood.look.finding import Found
from petmood.look.looker import Item, Looker
from petmood.look.watching import SMOOTHING_MS, VideoAnswer, Watch

__all__ = ["SMOOTHING_MS", "Found", "Item", "Looker", "VideoAnswer", "Watch"]
