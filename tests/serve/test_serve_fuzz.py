"""Whatever is asked, right or wrong by the description: the answer is one that the description names, never a 500."""

import collections

import hypothesis
import pytest
from hypothesis import strategies as st

from fixtures import photos

schemathesis = pytest.importorskip("schemathesis")
from schemathesis.checks import not_a_server_error  # noqa: E402 - an extra
from schemathesis.generation import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PATHS = ["/v1/predict", "/v1/predict/batch", "/v1/explain", "/v1/video", "/v1/model", "/v1/examples/{number}"]


# Half of the bodies are photos, so that questions about them get as far as the model.
schemathesis.openapi.media_type(
    "application/octet-stream",
    st.sampled_from([photos.jpeg(), photos.deep_grey(), photos.jpeg(blue=False)]) | st.binary(),
)


@pytest.fixture(scope="module")
def schema(url):
    return schemathesis.openapi.from_url(f"{url}openapi.json")


def test_every_address_is_in_the_description(schema):
    assert [found.ok().path for found in schema.get_all_operations()] == PATHS


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("path", PATHS)
def test_an_address_keeps_to_its_description(schema, url, path, mode):
    operation = next(found.ok() for found in schema.get_all_operations() if found.ok().path == path)
    if mode is GenerationMode.NEGATIVE and path == "/v1/model":
        pytest.skip("nothing about it can be asked wrongly")
    seen = collections.Counter()

    @hypothesis.settings(max_examples=60, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def keeps(case):
        response = case.call(base_url=url, timeout=20)
        case.validate_response(response, checks=CHECKS)
        seen[response.status_code] += 1

    keeps()
    assert seen
    assert max(seen) < 500
