"""A small untrained run, and a real server on a free port that answers by it."""

import contextlib
import threading
import time

import httpx
import pytest
import timm
import torch

from fixtures.detectors import DOG, guess, write_yolox
from fixtures.workspaces import make_workspace
from petmood.bundle import keep_certainty, save_bundle
from petmood.detect import Yolox
from petmood.look import Looker
from petmood.model import EmotionNet
from petmood.predict import Predictor
from petmood.preprocess import Preprocessing
from petmood.recipes.serve import ServeSettings
from petmood.records import Calibrated, Certainty
from petmood.serve.app import create_app
from petmood.serve.examples import examples_of
from petmood.serve.heat import heat_maps_of
from petmood.serve.running import listening, server_of, url_of
from petmood.serve.service import Served
from petmood.serve.turns import InTurns

CLASSES = ("happy", "calm", "angry")

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run with a small untrained network and a certainty, in a workspace with crops."""
    torch.manual_seed(0)
    workspace = make_workspace(tmp_path_factory.mktemp("serve") / "work", clips_per_class=6, frames_per_clip=2)
    folder = workspace.runs / "made-up"
    folder.mkdir(parents=True)
    preprocessing = Preprocessing(
        image_size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", fit="pad"
    )
    net = EmotionNet(timm.create_model("test_efficientnet", num_classes=0), classes=3)
    save_bundle(
        folder, net, workspace, model="test_efficientnet", classes=CLASSES,
        preprocessing=preprocessing, settings={}, epoch=1, scores={},
    )  # fmt: skip
    fitted = Calibrated(temperature=0.1, threshold=0.3, clips=30, groups=30)
    keep_certainty(folder, Certainty(level=0.9, frames=fitted, clips=fitted))
    return folder


@pytest.fixture(scope="session")
def detector(tmp_path_factory):
    """Finds a dog in the middle half of every picture that has blue in its top left quarter."""
    return Yolox(write_yolox(tmp_path_factory.mktemp("weights") / "y.onnx", guess(27, 16, 16, 32, 32, DOG)))


@pytest.fixture(scope="session")
def predictor(run_folder):
    return Predictor.load(run_folder, device="cpu")


@pytest.fixture(scope="session")
def served(run_folder, detector, predictor):
    """The model as `petmood serve` serves it."""
    engine = InTurns(predictor)
    return Served(
        network="test_efficientnet",
        engine=engine,
        looker=Looker(engine, detector),
        finds=True,
        heat_maps=heat_maps_of(run_folder, device="cpu"),
        examples=examples_of(run_folder),
    )


@contextlib.contextmanager
def running(served, settings, keys=()):
    """The address of a server, as long as the block lasts."""
    opened = listening(settings)
    server = server_of(create_app(served, settings, keys=keys))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield url_of(opened)
    finally:
        server.should_exit = True
        thread.join(15)


@pytest.fixture(scope="session")
def url(served):
    """The address of a server with the usual settings."""
    with running(served, ServeSettings(port=0)) as address:
        yield address


@pytest.fixture(scope="session")
def client(url):
    with httpx.Client(base_url=url, timeout=30) as opened:
        yield opened


@pytest.fixture
def serving(served):
    """Starts further servers with other settings; gives a client for each."""
    with contextlib.ExitStack() as stack:

        def start(keys=(), model=None, **settings):
            address = stack.enter_context(running(model or served, ServeSettings(port=0, **settings), keys))
            return stack.enter_context(httpx.Client(base_url=address, timeout=30))

        yield start
