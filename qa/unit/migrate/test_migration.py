"""Migrations on the fake."""

from qa.fakes.migration_cases import MoreMigrationCases


class TestMigrationOnTheFake(MoreMigrationCases):
    """All directions."""
