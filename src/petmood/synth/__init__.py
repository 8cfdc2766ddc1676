"""A made-up data set in AI Hub layout: drawn dogs and cats, every known irregularity, and the truth about all of it.

settings  words                      what can be asked for; the vocabulary of the label files
story  irregular  faults  layouts    which clips there are, what is odd or damaged, where it lies (no pixels)
geometry  looks  pose  parts         shapes, breeds, emotions as cues, display list
heads  body  paint  scenes  film     a clip as pictures with true boxes and joints
labelling  build                     label files; writing it all
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from petmood.synth.settings import SynthSettings, SynthSummary

__all__ = ["SynthSettings", "SynthSummary", "synth"]


def synth(
    out: Path,
    settings: SynthSettings = SynthSettings(),  # noqa: B008 -- frozen
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SynthSummary:
    """Write a made-up data set into `out` and what is true of it into `<out>-truth.json` beside it.

    Same seed and settings give the same bytes, whatever the number of jobs. Nothing stands under the final name until
    all of it is written.

    Args:
        out: A folder that does not exist yet, or is empty.
        settings: What to make.
        jobs: Processes; 0 uses every core.
        progress: Called with the clips done and the clips in all.

    Raises:
        UserError: if `out` holds something, or the settings contradict each other.
    """
    from petmood.synth.build import build  # noqa: PLC0415 -- drawing libraries load only when something is drawn

    return build(out, settings, jobs=jobs, progress=progress)
