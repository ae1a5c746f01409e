"""Migrations on the fake."""

from qa.fakes.migration_cases import MigrationCases


class TestMigrationOnTheFake(MigrationCases):
    """All directions."""
