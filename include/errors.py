"""Every error Carillon raises on purpose.

CarillonError                     the root: message, optional field, retry hint
├── InvalidInputError             the caller sent something unusable; names the field
│   ├── CronExpressionError       an expression, time zone or start time cannot be used
│   ├── EgressDeniedError         a target address is one that Carillon must not call
│   └── InvalidRowsError          rows of a bulk request or file cannot be used; names each
├── AuthenticationError           no credential, or one that is unknown or revoked
│   └── TokenExpiredError         the token was good once
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
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong with one field of a request or file that has many.

    :ivar field: a name or, where `row` is None, a dotted path such as `tiers.2.upper_limit`
    :ivar row: of which row, the first is 1
    """

    field: str
    message: str
    row: int | None = None

    def __str__(self) -> str:
        words = f"{self.field}: {self.message}" if self.field else self.message
        return f"row {self.row}: {words}" if self.row else words


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


class TokenExpiredError(AuthenticationError):
    """The token has expired."""


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
