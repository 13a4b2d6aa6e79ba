"""Callers for tests: an owner's key made in the database, and a client that sends it, or a browser with its cookie."""

from fastapi import FastAPI
from starlette.testclient import TestClient

from app.roles import Role
from app.services.owners.keys import create_key
from app.storage.db import Database


def make_key(database: Database, owner: str, role: Role = Role.SUBMIT) -> str:
    """A new key's secret."""
    with database.writing() as session:
        return create_key(session, owner, role)[1]


def client_of(api: TestClient, secret: str) -> TestClient:
    """A client of the same application that sends this key; the application must be running."""
    assert isinstance(api.app, FastAPI)
    return TestClient(
        api.app, raise_server_exceptions=False, headers={"Authorization": f"Bearer {secret}"}
    )


def caller(api: TestClient, database: Database, owner: str, role: Role = Role.SUBMIT) -> TestClient:
    """A client with a new key."""
    return client_of(api, make_key(database, owner, role))


def browser(
    api: TestClient, secret: str | None = None, at: str = "http://testserver"
) -> TestClient:
    """A browser without a key, or logged in with this one; it follows no redirect."""
    opened = TestClient(api.app, base_url=at, raise_server_exceptions=False, follow_redirects=False)
    if secret is not None:
        answer = opened.post("/ui/session", data={"key": secret}, headers={"Origin": at})
        assert answer.status_code == 303, answer.text
    return opened
