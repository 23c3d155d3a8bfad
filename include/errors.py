"""Every error Carillon raises on purpose.

CarillonError                     the root: message, optional field, retry hint
├── InvalidInputError             the caller sent something unusable; names the field
│   ├── InvalidRowsError          several fields of it, each with its own message
│   ├── CronExpressionError       an expression, time zone or start time cannot be used
│   ├── EgressDeniedError         a target address is one that Carillon must not call
│   └── InvalidRowsError          rows of a bulk request or file cannot be used; names each
├── AuthenticationError           no credential, or one that is unknown, expired or revoked
├── PermissionDeniedError         the credential is good but does not reach this API or project
├── NotFoundError                 no such definition, schedule or execution for this caller
├── ConflictError                 the request contradicts what is already stored
│   └── ConflictingRowsError      rows of a bulk request or file do; names each
├── OutboundError                 a call to somebody else's server failed
│   ├── OutboundTimeoutError      it did not connect or answer in time
│   └── OutboundProtocolError     it answered something that cannot be read
├── DatabaseUnavailableError      Postgres cannot be reached at the moment
└── StartupError                  `./carillon` cannot start; the message says what to do
"""

from __future__ import annotations

from collections.abc import Sequence


class CarillonError(Exception):
    """Something went wrong in Carillon."""

    #: Whether the same call may succeed when it is repeated unchanged.
    retryable = False

    #: Of an error about many rows: what is wrong with each.
    problems: Sequence[RowProblem] = ()

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").split("\n", 1)[0]
        self.field = field
        super().__init__(f"{field}: {self.message}" if field else self.message)


class InvalidInputError(CarillonError):
    """The request cannot be used as it is."""


class InvalidRowsError(InvalidInputError):
    """Several fields of the request cannot be used.

    :ivar problems: (dotted path such as `rows.17.value`, message) of each, at most `LISTED_MOST`
    """

    LISTED_MOST = 100

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems[: self.LISTED_MOST])
        told = "; ".join(f"{field}: {message}" for field, message in self.problems[:3])
        more = len(problems) - 3
        super().__init__(f"{told}; and {more} more" if more > 0 else told)


class CronExpressionError(InvalidInputError):
    """The schedule expression cannot be used."""


class EgressDeniedError(InvalidInputError):
    """The address is one that outbound calls may not reach."""


class InvalidRowsError(InvalidInputError):
    """Rows of the request cannot be used, so none was."""

    def __init__(self, problems: Sequence[RowProblem]) -> None:
        super().__init__(_summary(problems))
        self.problems = tuple(problems)


class AuthenticationError(CarillonError):
    """The credential is missing or not valid."""


class PermissionDeniedError(CarillonError):
    """The credential does not allow this."""


class NotFoundError(CarillonError):
    """There is no such thing."""


class ConflictError(CarillonError):
    """The request contradicts what is already stored."""


class ConflictingRowsError(ConflictError):
    """Rows of the request contradict what is already stored, so none was used."""

    def __init__(self, problems: Sequence[RowProblem]) -> None:
        super().__init__(_summary(problems))
        self.problems = tuple(problems)


class OutboundError(CarillonError):
    """The call to the target failed."""

    retryable = True


class OutboundTimeoutError(OutboundError):
    """The target did not answer in time."""


class OutboundProtocolError(OutboundError):
    """The target's answer cannot be read."""


class DatabaseUnavailableError(CarillonError):
    """The database cannot be reached at the moment."""

    retryable = True


class StartupError(CarillonError):
    """Carillon cannot start."""


def _summary(problems: Sequence[RowProblem]) -> str:
    more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"nothing was stored: {problems[0]}{more}"
