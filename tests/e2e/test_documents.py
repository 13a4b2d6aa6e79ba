"""The commands of the documents run as they stand."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.test_documentation import README, blocks, doc


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.timeout(500)
def test_every_curl_of_readme_and_tour_runs_as_it_stands(tmp_path: Path) -> None:
    """All ```bash blocks of the tour, and those of the README that use curl, in one shell, against a service of our own
    port.
    """
    first = [block for block in blocks(README, "bash") if "curl" in block]
    assert len(first) == 1
    script = "\n".join([*first, *blocks(doc("tour"), "bash")])
    assert script.count("curl") >= 60
    service = Service(tmp_path / "home")
    try:
        service.serve()
        text = "set -euo pipefail\n" + script.replace("localhost:8000", f"127.0.0.1:{service.port}")
        result = subprocess.run(
            ["bash", "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=400
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
        assert (tmp_path / "metrics.csv").read_text().startswith("run_id,seed,epoch")
        assert len((tmp_path / "weights.safetensors").read_bytes()) > 1000
        assert "did you mean 'depth'?" in result.stdout
        assert "depth 4: " in result.stdout
    finally:
        service.stop()
