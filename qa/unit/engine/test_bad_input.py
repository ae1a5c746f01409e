"""The cases of bad input on the fake."""

from qa.fakes.bad_input_cases import BadInputCases


class TestOnTheFake(BadInputCases):
    """All of them."""
