"""Both kinds of database."""

from tests.servers import any_database, postgres_server, postgres_url  # noqa: F401
