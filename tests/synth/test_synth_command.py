from __future__ import annotations

import cyclopts
import pytest

from petmood.cli.synth import synth
from petmood.errors import UserError


def _run(*words: str) -> None:
    app = cyclopts.App()
    app.default(synth)
    app(words, exit_on_error=False, result_action="return_value")


def test_the_command_prints_what_it_wrote(tmp_path, capsys):
    options = ["--clips", "3", "--frames", "2", "--size", "200x120", "--share", "fear=1", "--jobs", "1", "-q"]
    _run(str(tmp_path / "set"), *options)
    printed = capsys.readouterr().out
    assert "3 clips" in printed
    assert "clips by emotion: fear 3" in printed
    assert str(tmp_path / "set-truth.json") in printed


def test_wrong_settings_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="WIDTHxHEIGHT"):
        _run(str(tmp_path / "set"), "--size", "huge")
    assert list(tmp_path.iterdir()) == []
