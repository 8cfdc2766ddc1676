"""`petmood audit`: the clips whose label looks doubtful."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from petmood.cli.common import Json, Quiet
from petmood.labels import Language
from petmood.lock import owned
from petmood.recipes.doubts import DoubtSettings
from petmood.recipes.features import FeatureSettings
from petmood.workspace import owned_run


def audit(
    folder: Path,
    *,
    settings: Annotated[DoubtSettings, Parameter(name="*")] = DoubtSettings(),  # noqa: B008 - frozen
    features: Annotated[FeatureSettings, Parameter(name="*", group="features")] = FeatureSettings(),  # noqa: B008
    top: Annotated[
        int, Parameter(help="Clips on the page.", validator=cyclopts.validators.Number(gte=1, lte=2000))
    ] = 100,
    lang: Annotated[Language, Parameter(help="Language of the page and of what is printed.")] = "en",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the clips of FOLDER by how doubtful their label is; write doubts.csv to fill in and doubts.html to look at.

    Parameters
    ----------
    folder
        A work folder (all its clips are judged, by classifiers that have not seen them), or a run (its own answers for
        the clips of val and test).
    """
    from petmood.doubts import audit as run
    from petmood.report.doubt_texts import word
    from petmood.report.doubts import doubt_lines, most_doubtful, write_doubts_page

    whole = (folder / "petmood.json").is_file()
    with owned(folder, "petmood audit", part="doubts") if whole else owned_run(folder, "petmood audit"):
        summary = run(folder, settings, features, quiet=quiet)
        page = write_doubts_page(folder, lang, top=top)
    if json:
        found = {**summary, "most_doubtful": most_doubtful(folder), "page": str(page)}
        print(json_module.dumps(found, ensure_ascii=False, indent=2))
        return
    for line in doubt_lines(folder, lang):
        print(line)
    print(word("page_line", lang, path=page))
