"""A command that will not be carried out."""

from .results import Result


class RefusalError(Exception):
    """Raised on the way; its result is the command's answer, and says why."""

    def __init__(self, code: int, status: str) -> None:
        super().__init__(status)
        self.result = Result.failed(code, status)
