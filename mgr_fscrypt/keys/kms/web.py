"""What an HTTP request by the library `requests` came to, when it came to no answer."""

import ssl

import requests

from ..errors import KmsAnswerError, KmsError, KmsUnreachableError


def explain_request(error: Exception) -> KmsError | None:
    """Our word for an error of `requests`; None if it is none of its own.

    The order counts: those that an answer had begun with come first, and some are kinds of others.
    """
    match error:
        case requests.exceptions.JSONDecodeError() | requests.exceptions.ContentDecodingError():
            return KmsAnswerError("its answer is not of the form that it should have")
        case requests.exceptions.ChunkedEncodingError():
            return KmsAnswerError("its answer was cut off")
        case requests.exceptions.SSLError():
            return KmsUnreachableError(f"no safe connection: {innermost(error)}")
        case requests.exceptions.Timeout():
            return KmsUnreachableError("it did not answer in time")
        case requests.exceptions.ConnectionError():
            return KmsUnreachableError(f"no connection: {innermost(error)}")
        case requests.exceptions.RequestException():
            return KmsAnswerError(f"the request failed ({type(error).__name__})")
        case _:
            return None


def innermost(error: BaseException) -> str:
    """The innermost cause in the system's or OpenSSL's words: those around it repeat addresses and requests."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    found = type(error).__name__
    while current is not None and current not in seen:
        seen.append(current)
        match current:
            case ssl.SSLCertVerificationError():
                return f"its certificate is refused: {current.verify_message}"
            case ssl.SSLError():
                found = (current.reason or "TLS failed").lower().replace("_", " ")
            case OSError() if current.strerror:
                found = current.strerror
        inner = getattr(current, "reason", None)
        wrapped = next((each for each in current.args if isinstance(each, BaseException)), None)
        current = (
            inner if isinstance(inner, BaseException) else wrapped or current.__cause__ or current.__context__
        )
    return found
