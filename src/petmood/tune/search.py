"""One search, from a recipe and a work folder to a better recipe.

tune/NAME/  journal.log (all trials) · best.yaml · trials/trial-NNNN (the best one's run folder alone)
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import TrialState

import petmood
from petmood.errors import RunError, UserError
from petmood.recipes import TrainSettings
from petmood.recipes.tuning import TuneSettings
from petmood.runfolder import check_name
from petmood.settings import to_plain
from petmood.train import train
from petmood.tune.space import Space, search_space, settings_at, start_point
from petmood.tune.study import PROBLEM, EndState, TrialRow, alone, open_study, rows, sampler_for
from petmood.workspace import Stage, Workspace, replacing

SCORE = "val_clip_macro_f1"

#: Settings that belong to a machine or a quick try, not to a recipe.
NOT_OF_A_RECIPE = ("limit", "threads", "device", "devices", "nodes", "track", "checkpoint_minutes")

#: So many trainings one after the other that diverged end a search.
_MOST_FAILURES = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneSummary:
    """What a search came to."""

    folder: Path
    recipe: Path
    """The best settings, as a recipe."""
    trials: tuple[TrialRow, ...]
    """All trials, in order."""
    best: TrialRow
    base: TrialRow | None
    """The trial with the recipe's own settings, if it finished."""

    @property
    def ranking(self) -> tuple[TrialRow, ...]:
        """Finished trials, best first."""
        finished = (row for row in self.trials if row.score is not None)
        return tuple(sorted(finished, key=lambda row: -(row.score or 0.0)))

    def count(self, state: EndState) -> int:
        """Trials in a state."""
        return sum(row.state == state for row in self.trials)


def tune(
    workspace: Workspace,
    name: str,
    base: TrainSettings,
    settings: TuneSettings = TuneSettings(),  # noqa: B008 - frozen
    *,
    recipe: str = "",
    quiet: bool = False,
) -> TuneSummary:
    """Search settings around ``base`` that score best on the validation side, and write them as a recipe.

    A search that was stopped goes on when it is called again; the trial that was under way runs again with the same
    settings. Trials follow the tree-structured Parzen estimator (Bergstra et al. 2011; Optuna's TPESampler).

    Args:
        workspace: with all data stages completed.
        name: of the search; its folder is WORK/tune/NAME.
        base: the settings to start from; the first trial has them as they are, as far as the ranges allow.
        settings: of the search.
        recipe: name of the recipe that ``base`` comes from, for the record.
        quiet: no line for each trial.

    Raises:
        UserError: there is nothing to tune, the search was begun with other settings or data, another process is at
            work on it, or training refuses its settings.
        RunError: trainings diverge one after the other, or the disk is full.
        KeyboardInterrupt: stopped by Ctrl-C; the finished trials are kept.
    """
    _check(name, base)
    space = search_space(base, settings.search)
    made_from = _made_from(workspace, base, space)
    folder = workspace.root / "tune" / name
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        study = open_study(folder, made_from, epochs=base.epochs, prune=settings.prune)
        search = _Search(workspace, folder, study, base, space, recipe, settings.trials, quiet)
        search.go()
    return search.summary()


@dataclasses.dataclass(frozen=True)
class _Search:
    workspace: Workspace
    folder: Path
    study: optuna.Study
    base: TrainSettings
    space: Space
    recipe: str
    most: int
    quiet: bool

    def go(self) -> None:
        """Run trials until there are as many as asked for; each leaves everything as if it were the last."""
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(start_point(self.base, self.space))
        self._tidy()
        while self._done() < self.most:
            self.study.sampler = sampler_for(self.base.seed, len(self.study.get_trials(deepcopy=False)))
            trial = self.study.ask(dict(self.space))
            started = time.monotonic()
            self._run(trial)
            self._tidy()
            self._tell(trial.number, time.monotonic() - started)
            self._check_failures()

    def summary(self) -> TuneSummary:
        """All trials and the best of them."""
        all_rows = rows(self.study)
        best = self._best()
        if best is None:
            raise RunError(
                f"none of {len(all_rows)} trials in {self.folder} finished.",
                hint="give more --trials, or a lower --learning-rate and another --name",
            )
        first = all_rows[0].values
        return TuneSummary(
            folder=self.folder,
            recipe=self.folder / "best.yaml",
            trials=tuple(all_rows),
            best=next(row for row in all_rows if row.number == best),
            base=next((row for row in all_rows if row.values == first and row.score is not None), None),
        )

    def _run(self, trial: optuna.Trial) -> None:
        """Train once and note how it ended; what is neither an end nor divergence passes through."""
        settings = settings_at(self.base, trial.params)

        def report(epoch: int, scores: Mapping[str, float]) -> None:
            trial.report(scores[SCORE], step=epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            done = train(
                self.workspace,
                _folder_name(trial.number),
                settings,
                recipe=self.recipe,
                quiet=True,
                folder=self.folder / "trials",
                after_epoch=report,
            )
        except optuna.TrialPruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        except RunError as error:
            if isinstance(error.__cause__, OSError):  # the disk, not the settings
                raise
            trial.set_user_attr(PROBLEM, error.message)
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, done.scores[SCORE])

    def _done(self) -> int:
        return sum(row.state in {"finished", "given up"} for row in rows(self.study))

    def _best(self) -> int | None:
        """Number of the best trial; the earliest of several equals."""
        finished = [row for row in rows(self.study) if row.score is not None]
        return max(finished, key=lambda row: (row.score, -row.number)).number if finished else None

    def _tidy(self) -> None:
        """Write the best settings so far; remove the run folders of all other trials, which would fill the disk."""
        best = self._best()
        if best is not None:
            self._write_recipe(best)
        keep = _folder_name(best) if best is not None else ""
        trials = self.folder / "trials"
        for path in trials.iterdir() if trials.is_dir() else ():
            if path.name != keep:
                shutil.rmtree(path, ignore_errors=True)

    def _write_recipe(self, best: int) -> None:
        trial = self.study.get_trials(deepcopy=False)[best]
        values = to_plain(settings_at(self.base, trial.params))
        values = {name: value for name, value in values.items() if name not in NOT_OF_A_RECIPE}
        body = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        with replacing(self.folder / "best.yaml") as temporary:
            temporary.write_text(self._head(trial) + body, encoding="utf-8")

    def _head(self, trial: optuna.trial.FrozenTrial) -> str:
        """What a recipe's reader must know."""
        root, path = self.workspace.root, self.folder / "best.yaml"
        data = ", ".join(f"{stage} {made_from}" for stage, made_from in _data(self.workspace).items())
        limit = f" Tuned with --limit {self.base.limit}, which is left out here." if self.base.limit else ""
        lines = (
            f"Best of {self._done()} trials of `petmood tune` (petmood {petmood.__version__}): trial {trial.number}, "
            f"macro-F1 of clips {trial.value:.4f}",
            "on the validation side. That score is optimistic, because it chose the trial. Train and judge on test:",
            "",
            f"    petmood train {root} --recipe {path} --name {self.folder.name}-tuned",
            f"    petmood evaluate {root / 'runs' / (self.folder.name + '-tuned')}",
            "",
            f"Searched: {', '.join(self.space)}; the rest is as in recipe {self.recipe or '(none)'}.{limit}",
            f"Data: {data}.",
        )
        return "".join(f"# {line}".rstrip() + "\n" for line in lines)

    def _tell(self, number: int, seconds: float) -> None:
        """A line for the trial that has just ended."""
        if self.quiet:
            return
        row = next(row for row in rows(self.study) if row.number == number)
        best = self._best()
        done = f"{self._done()}/{self.most}"
        how = {
            "finished": f"macro-F1 {row.score or 0.0:.3f}",
            "given up": f"given up after epoch {row.epochs}",
        }.get(row.state, f"failed: {row.problem}")
        top = "" if best is None else ", best so far" if best == row.number else f", best is trial {best}"
        print(f"trial {row.number} ({done}): {how} in {seconds:,.0f} s{top}", file=sys.stderr)  # noqa: T201

    def _check_failures(self) -> None:
        last = [row.state for row in rows(self.study) if row.state != "killed"][-_MOST_FAILURES:]
        if last.count("failed") == _MOST_FAILURES:
            raise RunError(
                f"the last {_MOST_FAILURES} trials diverged; what was finished is kept in {self.folder}.",
                hint=f"start from a lower --learning-rate than {self.base.learning_rate:g}, with another --name",
            )


def _folder_name(number: int) -> str:
    return f"trial-{number:04d}"


def _check(name: str, base: TrainSettings) -> None:
    check_name(name, what="search")
    if base.method == "probe":
        raise UserError(
            "method probe has nothing to tune: the strength of its regularisation is chosen by cross-validation.",
            hint="`petmood train WORK --recipe probe`, then tune a fine-tuning that starts from it (--init)",
        )
    if (base.devices, base.nodes) != (1, 1):
        raise UserError(
            f"devices {base.devices} and nodes {base.nodes} cannot be tuned with; a search uses one device.",
            hint="leave out --devices and --nodes",
        )


def _data(workspace: Workspace) -> dict[str, str]:
    stages: tuple[Stage, ...] = ("index", "pack", "split")
    return {stage: str(workspace.require(stage)["made_from"]) for stage in stages}


def _made_from(workspace: Workspace, base: TrainSettings, space: Space) -> dict[str, Any]:
    """What must not change during a search: data, settings, ranges."""
    values = {name: value for name, value in to_plain(base).items() if name not in NOT_OF_A_RECIPE or name == "limit"}
    return {**values, **_data(workspace), "search": ", ".join(space)}
