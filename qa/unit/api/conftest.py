"""What all tests of the API have."""

from qa.fakes.api_door import door, first_manager

__all__ = ["door", "first_manager"]
