"""Requests to a server of MLflow, and what its answers mean."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from training_lab.files import pieces_of
from training_lab.late import Late
from training_lab.sync.sink import TrackerAway, TrackerRefused

if TYPE_CHECKING:
    import httpx
else:
    httpx = Late("httpx")

API: Final = "/api/2.0/mlflow/"
ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts/"
SECONDS: Final = 30.0
"""For a connection, and for each silence."""
LATER: Final = frozenset({408, 425, 429})
"""Besides 5xx: what ends by itself."""


class MlflowRequests:
    """A server, with the credentials that MLFLOW_TRACKING_USERNAME, …_PASSWORD and …_TOKEN say."""

    def __init__(self, url: str) -> None:
        self.url = url
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
        self._http = httpx.Client(
            timeout=SECONDS,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            auth=(user, password) if user and not token else None,
        )

    def get(
        self, path: str, params: Mapping[str, Any], passing: Collection[str] = ()
    ) -> dict[str, Any]:
        """The document of an answer, empty for an error code of `passing`; raises TrackerAway, TrackerRefused."""
        return self._answer(path, passing, "GET", f"{API}{path}", params=dict(params))

    def post(
        self, path: str, document: Mapping[str, Any], passing: Collection[str] = ()
    ) -> dict[str, Any]:
        """The same."""
        return self._answer(path, passing, "POST", f"{API}{path}", json=dict(document))

    def put_file(self, path: str, file: Path) -> None:
        """Store a file among the artifacts; raises TrackerAway, TrackerRefused."""
        with file.open("rb") as opened:
            size = {"Content-Length": str(file.stat().st_size)}
            self._answer(
                path,
                (),
                "PUT",
                f"{ARTIFACTS}{quote(path)}",
                content=pieces_of(opened),
                headers=size,
            )

    def close(self) -> None:
        """Let go of its connections."""
        self._http.close()

    def _answer(
        self, what: str, passing: Collection[str], method: str, path: str, **options: Any
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, f"{self.url}{path}", **options)
        except httpx.RequestError as error:
            said = str(error) or type(error).__name__
            raise TrackerAway(
                f"no answer from MLflow at {self.url}: {said}. Is it running, and is the address right?"
            ) from error
        try:
            document = response.json()
        except ValueError:
            document = None
        if response.is_success and (isinstance(document, dict) or not response.content):
            return document or {}
        if isinstance(document, dict) and document.get("error_code") in passing:
            return {}
        raise self._trouble(what, response, document)

    def _trouble(
        self, what: str, response: "httpx.Response", document: Any
    ) -> TrackerAway | TrackerRefused:
        status = response.status_code
        said = str(document.get("message") or "") if isinstance(document, dict) else ""
        if response.is_success:
            return TrackerRefused(f"what answers at {self.url} is no MLflow: {what} gave no JSON")
        if status >= 500 or status in LATER:
            return TrackerAway(f"MLflow at {self.url} answered {what} with {status} {said}".strip())
        if status in (401, 403):
            return TrackerRefused(
                f"MLflow at {self.url} does not let us in ({status}): set MLFLOW_TRACKING_USERNAME and"
                " MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        return TrackerRefused(
            f"MLflow at {self.url} refused {what} ({status}): {said or response.reason_phrase}"
        )
