"""Where the animals are in a picture: two kinds of detectors, one answer. `table` lists the weights that are known.

To add a detector: a module here with a class that has ``animals``, a case in `opening.open_detector`, a row in `table`.
"""

from petmood.detect.animal import LEAST, Animal, Detector
from petmood.detect.files import animals_in
from petmood.detect.opening import ENVIRONMENT, find_weights, open_detector
from petmood.detect.yolox import Yolox

__all__ = ["ENVIRONMENT", "LEAST", "Animal", "Detector", "Yolox", "animals_in", "find_weights", "open_detector"]
