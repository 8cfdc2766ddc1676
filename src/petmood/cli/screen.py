"""`petmood screen`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from petmood.cli.common import Force, Json, Quiet, tell
from petmood.cli.folders import Work
from petmood.data.screen import Features, ScreenSettings
from petmood.lock import owned
from petmood.recipes.features import FeatureSettings

FEATURES = Group.create_ordered("features (only with --near-copies features)")


def screen(
    work: Work,
    *,
    settings: Annotated[ScreenSettings, Parameter(name="*")] = ScreenSettings(),  # noqa: B008 - frozen
    features: Annotated[FeatureSettings, Parameter(name="*", group=FEATURES)] = FeatureSettings(),  # noqa: B008
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Drop blank, blurred and near-copied crops; join the groups of clips that share near-copies.

    Parameters
    ----------
    work
        A work folder that `petmood index` made.
    """
    from petmood.data.screen import screen as run

    with owned(work, "petmood screen"):
        described = features_for(work, settings, features, quiet=quiet)
        tell(run(work, settings, features=described, threads=features.threads, force=force), json=json)


def features_for(work: Path, settings: ScreenSettings, features: FeatureSettings, *, quiet: bool) -> Features | None:
    """Features of the crops if the screening asks for them; only then is torch imported."""
    if settings.near_copies != "features":
        return None
    from petmood.features import crop_features
    from petmood.workspace import Workspace

    return crop_features(Workspace.open(work), features, quiet=quiet)
