"""Lets the tests of this folder import ``fixtures``, as those one level up do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
