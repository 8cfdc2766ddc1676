"""One exported model for all of these tests."""

import pytest

from fixtures.exported import make_exported


@pytest.fixture(scope="session")
def exported_run(tmp_path_factory):
    return make_exported(tmp_path_factory.mktemp("exported") / "work")


@pytest.fixture(scope="session")
def model_file(exported_run):
    return exported_run / "model.onnx"
