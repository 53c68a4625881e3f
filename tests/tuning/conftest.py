"""Servers that searches and trainings on a cluster share, and both kinds of database."""

from tests.servers import any_database, postgres_server, postgres_url, s3_root, s3_server  # noqa: F401
