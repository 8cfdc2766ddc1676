"""Trackers: the scores arrive in MLflow and in Weights & Biases, a resumed run goes on there, and neither can end a
training."""

import ast
import dataclasses
import importlib.util
import inspect
import json
import shutil
import struct
import time

import lightning
import pytest
import torch

import petmood.train.trackers
from fixtures.workspaces import make_workspace
from petmood.cli import run as command
from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.train import train
from petmood.train.epochs import read_metrics
from petmood.train.trackers import LearningRateScore, Tolerated, check_tracker, trackers

MLFLOW = TrainSettings(track="mlflow", learning_rate=3e-4)
WANDB = TrainSettings(track="wandb", learning_rate=3e-4)

pytestmark = [
    # MLflow's tables and SQLAlchemy's next version; connections that its pool closes when it is collected.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
    # What wandb says of itself and of pydantic.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb"),
]


@pytest.fixture(scope="module")
def empty_tables(tmp_path_factory):
    """MLflow's tables, which take it seconds to make."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, empty_tables):
    """A run folder in a work folder, and an environment without the user's own trackers."""
    shutil.copy(empty_tables, tmp_path / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (tmp_path / "petmood.json").write_text("{}")
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    return folder


def tell(run, settings, scores, *, step, status="success"):
    """What a training of one epoch tells the tracker of these settings."""
    *_, tracker = trackers(settings, run)
    tracker.log_metrics(scores, step)
    tracker.finalize(status)


def mlflow_run(run):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{run.parents[1] / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("petmood")
    return client, client.search_runs([experiment.experiment_id])


def wandb_records(folder):
    """All records of an offline run that was finished; its process may write the last ones a moment later."""
    (path,) = folder.glob("run-*.wandb")
    for _ in range(200):
        records = parsed(path.read_bytes())
        if any(record.HasField("exit") for record in records):
            return records
        time.sleep(0.05)
    raise AssertionError(f"{path} was not finished")


def parsed(data):
    """Records as the service would read them: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    place, whole, records = 7, b"", []
    while place < len(data):
        if 32768 - place % 32768 < 7:  # no header fits into the rest of the block
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:  # complete, or the last part
            records.append(wandb_internal_pb2.Record.FromString(whole))
            whole = b""
    return records


def test_nothing_but_tensorboard_is_told_unless_asked(run):
    assert [type(logger).__name__ for logger in trackers(TrainSettings(), run)] == ["TensorBoardLogger"]
    assert not (run / "tracker.json").exists()


def test_training_without_a_tracker_does_not_import_one():
    code = ast.parse(inspect.getsource(petmood.train.trackers))
    imported = {
        name for node in ast.walk(code) if isinstance(node, ast.Import) for name in (a.name for a in node.names)
    }
    imported |= {node.module.split(".")[0] for node in ast.walk(code) if isinstance(node, ast.ImportFrom)}
    assert "lightning" in imported  # whose loggers import theirs when they are made
    assert not imported & {"mlflow", "wandb"}


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_told_with_what_to_install(monkeypatch, run, name):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == name else real(wanted))
    with pytest.raises(UserError, match=rf"(?s)package {name} is not installed.*pip install 'petmood\[{name}\]'"):
        check_tracker(TrainSettings(track=name))
    check_tracker(TrainSettings())


def test_mlflow_has_settings_and_scores_and_a_resumed_run_goes_on_there(run):
    tell(run, MLFLOW, {"val_loss": 1.5, "epoch": 0}, step=10, status="failed")
    _, (stopped,) = mlflow_run(run)
    assert stopped.info.status == "FAILED"
    tell(run, MLFLOW, {"val_loss": 1.25, "epoch": 1}, step=20)
    client, (found,) = mlflow_run(run)  # one run
    assert found.info.run_id == json.loads((run / "tracker.json").read_text())["id"]
    assert (found.info.run_name, found.info.status) == ("first", "FINISHED")
    assert found.data.params["learning_rate"] == "0.0003"
    assert set(found.data.params) == {field.name for field in dataclasses.fields(TrainSettings)}
    history = client.get_metric_history(found.info.run_id, "val_loss")
    assert [(metric.step, metric.value) for metric in history] == [(10, 1.5), (20, 1.25)]


def test_wandb_works_without_a_network_and_a_resumed_run_goes_on_there(run):
    tell(run, WANDB, {"val_loss": 1.5, "epoch": 0}, step=10)
    note = json.loads((run / "tracker.json").read_text())
    (first,) = (run / "wandb").glob("offline-run-*")
    records = wandb_records(first)
    (begun,) = [record.run for record in records if record.HasField("run")]
    assert (begun.display_name, begun.project, begun.run_id) == ("first", "petmood", note["id"])
    history = [{item.key or item.nested_key[0]: item.value_json for item in r.history.item} for r in records]
    assert {"val_loss": "1.5", "trainer/global_step": "10"}.items() <= next(row for row in history if row).items()
    settings = {item.key or item.nested_key[0]: item.value_json for r in records for item in r.config.update}
    assert settings["learning_rate"] == "0.0003"
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]
    tell(run, WANDB, {"val_loss": 1.25, "epoch": 1}, step=20, status="failed")
    (second,) = set((run / "wandb").glob("offline-run-*")) - {first}
    records = wandb_records(second)
    assert [record.run.run_id for record in records if record.HasField("run")] == [note["id"]]
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [1]


def test_a_server_that_cannot_be_reached_is_told_once_and_ends_nothing(run, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    *_, tracker = trackers(MLFLOW, run)
    for step in range(6):
        tracker.log_metrics({"val_loss": 1.0}, step)
    tracker.finalize("success")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("note: mlflow could not be told: ")
    assert told[0].endswith("training goes on, metrics.csv has all")
    assert told[1] == "note: mlflow is not told any more"
    assert not (run / "tracker.json").exists()


def test_a_tracker_that_fails_for_a_while_is_told_again_afterwards(run, monkeypatch, capsys):
    *_, tracker = trackers(MLFLOW, run)
    sound = tracker._tracker.experiment.log_batch
    for step in range(6):
        broken = step in {1, 2, 4}
        monkeypatch.setattr(tracker._tracker.experiment, "log_batch", gone if broken else sound)
        tracker.log_metrics({"val_loss": float(step)}, step)
    tracker.finalize("success")
    client, (found,) = mlflow_run(run)
    history = client.get_metric_history(found.info.run_id, "val_loss")
    assert [metric.step for metric in history] == [0, 3, 5]
    assert "not told any more" not in capsys.readouterr().err


def gone(*args, **kwargs):
    raise ConnectionError("the server is gone")


class Line(lightning.LightningModule):
    """A line with two groups of parameters at different rates."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, index):
        return self.layer(batch).mean()

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(1, 2))

    def configure_optimizers(self):
        groups = [{"params": [self.layer.weight], "lr": 0.01}, {"params": [self.layer.bias], "lr": 0.1}]
        return torch.optim.SGD(groups)


@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
def test_the_learning_rate_of_the_head_is_among_the_scores(run):
    tracker = Tolerated("mlflow", run, {})
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=[tracker],
        callbacks=[LearningRateScore()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=run,
    )
    trainer.fit(Line())
    _, (found,) = mlflow_run(run)
    assert found.data.metrics["learning_rate"] == pytest.approx(0.1)
    assert found.info.status == "FINISHED"


def test_a_training_and_its_resumption_are_one_run_with_all_scores(run):
    workspace = make_workspace(run.parents[1] / "work")
    (run.parents[1] / "mlflow.db").rename(workspace.root / "mlflow.db")
    settings = TrainSettings(
        model="test_efficientnet",
        image_size=32,
        pretrained="none",
        epochs=2,
        batch_size=16,
        track="mlflow",
        device="cpu",
    )
    with pytest.raises(StoppedError):
        train(workspace, "told", settings, quiet=True, after_epoch=stop)
    train(workspace, "told", settings, resume=True, quiet=True)
    client, (found,) = mlflow_run(workspace.runs / "told")
    assert (found.info.run_name, found.info.status) == ("told", "FINISHED")
    scores = {"val_loss", "val_accuracy", "val_clip_macro_f1", "train_loss", "learning_rate"}
    assert scores <= set(found.data.metrics)
    rows = read_metrics(workspace.runs / "told" / "metrics.csv")
    for name in ("val_loss", "train_loss"):
        history = client.get_metric_history(found.info.run_id, name)
        assert {round(metric.value, 3) for metric in history} == {round(row[name], 3) for row in rows}


class StoppedError(Exception):
    """The training was ended from outside."""


def stop(epoch, scores):
    raise StoppedError


def test_a_missing_tracker_is_told_before_a_run_is_begun(run, monkeypatch, capsys):
    workspace = make_workspace(run.parents[1] / "work")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "wandb" else real(name, *more))
    options = ["--model", "test_efficientnet", "--pretrained", "none", "--device", "cpu", "-q"]
    assert command(["train", str(workspace.root), "--track", "wandb", *options]) == 2
    assert "pip install 'petmood[wandb]'" in capsys.readouterr().err
    assert not workspace.runs.exists()
