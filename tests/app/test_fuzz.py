"""Every answer of a real service to a few thousand odd requests is one that the OpenAPI document names; `make fuzz`
sends more.
"""

from pathlib import Path

import pytest

from tests.fuzz import fuzz


@pytest.mark.costly
@pytest.mark.sqlite  # the service that is fuzzed makes its own
@pytest.mark.timeout(600)
def test_every_answer_is_as_documented(tmp_path: Path) -> None:
    """Boundaries of parameters and small bodies, then random requests and chains of requests that follow the document's
    links; always the same ones.
    """
    assert fuzz(tmp_path, cases=120, seed=1, phases="coverage,fuzzing,stateful", brief=True) == 0
