"""A private PostgreSQL that the test session starts and ends: its own folder, its own socket, no port, nothing of the
machine's cluster.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Placeholder

from app.settings import Settings
from app.storage.db import open_database

INSTALLED = "/usr/lib/postgresql"
USER = "lab"
TEMPLATE = "migrated"
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "''",
    "max_wal_size": "4GB",
    "max_connections": "200",
}
"""Nothing here need survive a power cut, though all survives a killed server; whoever may open the socket's folder may
connect.
"""
LOCALE = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
"""Sorted as people's databases sort, and not as SQLite does."""


class Cluster:
    """A server, and databases in it that are used, emptied and used again: a new one takes a third of a second, an
    emptied one a few milliseconds.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="lab-postgresql-"))
        self._user = _unprivileged_user()
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._free: list[str] = []
        self._made = 0
        self._run(
            "initdb",
            "--pgdata",
            "data",
            "--username",
            USER,
            "--auth",
            "trust",
            "--no-sync",
            "--no-instructions",
            *LOCALE,
        )
        self.start()
        try:
            self._make_template()
        except BaseException:
            self.remove()
            raise

    def url(self, name: str) -> str:
        """What LAB_DATABASE_URL is for this database."""
        return f"postgresql://{USER}@/{name}?host={self._folder}"

    def take(self) -> str:
        """The name of a migrated database without rows of anybody's."""
        return self._free.pop() if self._free else self.create(TEMPLATE)

    def create(self, template: str = "template1") -> str:
        """The name of a new database, by default an empty one."""
        self._made += 1
        name = f"lab{self._made}"
        with self._connect("postgres") as connection:
            connection.execute(
                SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template))
            )
        return name

    def give_back(self, name: str) -> None:
        """End its connections and make it as new; one whose schema was changed is dropped."""
        if self._empty(name):
            self._free.append(name)
        else:
            self.drop(name)

    def renew(self, name: str) -> None:
        """Make a database that is in use as new."""
        assert self._empty(name), "the schema was changed"

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected."""
        with self._connect("postgres") as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def start(self) -> None:
        """Start the server; returns when it accepts connections."""
        options = " ".join(
            f"-c {name}={value}"
            for name, value in {**FAST, "unix_socket_directories": str(self._folder)}.items()
        )
        self._run(
            "pg_ctl",
            "--pgdata",
            "data",
            "--log",
            "log",
            "--wait",
            "--timeout",
            "60",
            "--options",
            options,
            "start",
        )

    def stop(self, mode: str = "fast") -> None:
        """`fast` ends all connections in order, `immediate` is a crash."""
        self._run("pg_ctl", "--pgdata", "data", "--wait", "--mode", mode, "stop")

    def remove(self) -> None:
        """End the server and remove everything."""
        self.stop("immediate")
        shutil.rmtree(self._folder)

    @contextmanager
    def _connect(self, name: str) -> Iterator[psycopg.Connection]:
        with psycopg.connect(
            host=str(self._folder), user=USER, dbname=name, autocommit=True
        ) as connection:
            yield connection

    def _make_template(self) -> None:
        made = self.create()
        with tempfile.TemporaryDirectory() as home:
            open_database(
                Settings(home=Path(home), database_url=self.url(made), _env_file=None)
            ).close()
        with self._connect("postgres") as connection:
            connection.execute(
                SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(made), Identifier(TEMPLATE))
            )
        with self._connect(TEMPLATE) as connection:
            self._rows = {
                table: connection.execute(
                    SQL("SELECT * FROM {}").format(Identifier(table))
                ).fetchall()
                for table in _tables(connection)
            }
            self._schema = _columns(connection)

    def _empty(self, name: str) -> bool:
        """Put every table into the state of the template's; False if these are other tables."""
        with self._connect(name) as connection, connection.transaction():
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <>"
                " pg_backend_pid()"
            )
            if _columns(connection) != self._schema:
                return False
            # deletes in any order: no foreign key is looked at
            connection.execute("SET LOCAL session_replication_role = replica")
            for table, rows in self._rows.items():
                connection.execute(SQL("DELETE FROM {}").format(Identifier(table)))
                for row in rows:
                    values = SQL(", ").join(Placeholder() * len(row))
                    connection.execute(
                        SQL("INSERT INTO {} VALUES ({})").format(Identifier(table), values), row
                    )
        return True

    def _run(self, program: str, *arguments: str) -> None:
        identity = (
            {}
            if self._user is None
            else {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        )
        log = self._folder / "log"
        ended = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **identity,
        )
        assert ended.returncode == 0, (
            f"{program}: {ended.stderr.decode()}\n{log.read_text()[-2000:] if log.exists() else ''}"
        )


def start_or_skip() -> Cluster:
    """A running cluster; the test is skipped where PostgreSQL's programs are not installed."""
    found = installed()
    if found is None:
        pytest.skip(f"PostgreSQL's programs are not installed ({INSTALLED}/*/bin)")
    return Cluster(found)


def installed() -> Path | None:
    """The folder of the newest PostgreSQL's programs, Debian's or the search path's."""
    versions = sorted(
        (path.parent.parent for path in Path(INSTALLED).glob("*/bin/initdb")),
        key=lambda path: float(path.name),
    )
    on_path = shutil.which("initdb")
    return versions[-1] / "bin" if versions else Path(on_path).parent if on_path else None


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Who runs the server when root runs the tests, which PostgreSQL refuses to be."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _tables(connection: psycopg.Connection) -> list[str]:
    return [
        name
        for (name,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        )
    ]


def _columns(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    """The schema as far as migrations change it: tables, columns, types, constraints, indexes."""
    described = """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), ''
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3"""
    return connection.execute(described).fetchall()
