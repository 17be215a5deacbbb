"""A hot standby of a private PostgreSQL, which can be promoted while its primary is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from tests.support.postgresql import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path


class Standby(PostgresServer):
    """A copy of a primary that follows it, asynchronously."""

    title = "PostgreSQL"

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__()
        self._primary = primary

    def promote(self) -> None:
        """Become a primary, on a timeline of its own."""
        self.query(sql.SQL("SELECT pg_promote(true, 60)"))

    def follows(self) -> bool:
        """Whether everything that the primary has written is here."""
        (written,) = self._primary.query(sql.SQL("SELECT pg_current_wal_lsn()::text"))[0]
        statement = sql.SQL("SELECT pg_last_wal_replay_lsn() >= {}::pg_lsn")
        return bool(self.query(statement.format(sql.Literal(written)))[0][0])

    def addresses(self, url: str) -> str:
        """The URL of a database of the primary, with both servers' addresses in it."""
        name = url.rpartition("/")[2]
        hosts = "&".join(f"host=127.0.0.1:{one.port}" for one in (self._primary, self))
        return f"postgresql://postgres@/{name}?{hosts}"

    def _prepare(self, programs: Path, data: Path) -> None:
        self._hand_over()
        made = self._spawn(
            str(programs / "pg_basebackup"),
            f"--pgdata={data}",
            *("--host=127.0.0.1", f"--port={self._primary.port}", "--username=postgres"),
            *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"),
        )
        if made.wait(60.0):
            raise RuntimeError(f"{self.title} did not copy its primary: {self.log[-2000:]}")
        config = data / "postgresql.conf"
        settings = config.read_text("utf-8")
        for theirs, ours in (
            (f"port = {self._primary.port}", f"port = {self.port}"),
            (str(self._primary.folder), str(self.folder)),
        ):
            settings = settings.replace(theirs, ours)
        config.write_text(settings, "utf-8")
