"""Libraries that write down what they send and receive, when somebody turns on their debug messages: they must not."""

import logging


def keep_quiet(*loggers: str) -> None:
    """Let these loggers say nothing below INFO, whatever level they are set to later."""
    for name in loggers:
        # adding it twice does nothing: it is the same function
        logging.getLogger(name).addFilter(_is_for_people)


def _is_for_people(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO
