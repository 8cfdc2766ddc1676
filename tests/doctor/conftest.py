import pytest


@pytest.fixture(autouse=True)
def no_detector(tmp_path_factory, monkeypatch):
    """Weights that this machine's user has fetched must not change what is tested."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "no-cache"))
    monkeypatch.delenv("PETMOOD_DETECTOR", raising=False)
