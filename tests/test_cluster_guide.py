"""The cluster guide's script and manifests are whole, and the programs understand their commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from petmood.cli import app
from petmood.cli.folders import _READERS
from petmood.data import pack
from petmood.data.curate import FRAMES_A_TASK
from petmood.sources import aihub

GUIDE = (Path(__file__).parents[1] / "docs" / "guide" / "cluster.md").read_text(encoding="utf-8")
SCRIPT = re.findall(r"```bash\n(.*?)```", GUIDE, flags=re.DOTALL)[0]
MANIFESTS = list(yaml.safe_load_all(re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)[0]))


def _commands() -> list[list[str]]:
    """Every command of petmood and dask in the guide, as words."""
    lines = [line.strip() for line in (GUIDE + SCRIPT).replace("\\\n", " ").splitlines()]
    lines = [line.removeprefix("srun --overlap ").removesuffix(" &") for line in lines]
    told = [shlex.split(line, comments=True) for line in lines if re.match(r"(petmood|dask) [a-z]", line)]
    pods = [one["spec"]["template"]["spec"] for one in MANIFESTS if "template" in one["spec"]]
    return told + [container["command"] for pod in pods for container in pod["containers"]]


def test_the_script_is_whole():
    done = subprocess.run(["bash", "-n"], input=SCRIPT, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [words for words in _commands() if words[0] == "petmood"], ids=" ".join)
def test_a_command_of_petmood_is_understood(words):
    _, bound, ignored = app.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert bound.args
    assert not ignored


@pytest.mark.parametrize("program", ["scheduler", "worker"])
def test_options_of_dask_exist(program):
    known = subprocess.run(
        [sys.executable, "-m", f"distributed.cli.dask_{program}", "--help"], capture_output=True, text=True, check=True
    ).stdout
    used = {word for words in _commands() if words[:2] == ["dask", program] for word in words if word.startswith("--")}
    assert used
    assert {word for word in used if not re.search(rf"{word}\b", known)} <= {"--no-dashboard"}
    assert "--no-dashboard" in known


def test_manifests_fit_together():
    kinds = [one["kind"] for one in MANIFESTS]
    assert kinds == ["Service", "Deployment", "Deployment", "Job"]
    for one in MANIFESTS[1:3]:
        spec = one["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    service, scheduler = MANIFESTS[:2]
    assert service["spec"]["selector"] == scheduler["spec"]["selector"]["matchLabels"]
    for one in MANIFESTS:
        pod = one["spec"].get("template", {}).get("spec", {})
        mounted = {
            mount["name"] for container in pod.get("containers", []) for mount in container.get("volumeMounts", [])
        }
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])}


def test_the_guides_numbers_are_the_programs():
    assert f"{aihub._CLIPS_A_TASK} clips a task" in GUIDE
    assert f"{FRAMES_A_TASK:,} frames a task" in GUIDE
    assert f"{pack.CROPS_A_PART} crops a task" in GUIDE
    assert all(f"`{name}`" in GUIDE for name in _READERS)
