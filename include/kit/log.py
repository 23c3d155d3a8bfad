"""Structured log lines, as text for people or JSON for machines, with secrets masked in both.

Airflow's own processes keep the logging that Airflow sets up; this is for everything else, and
`mask_secrets` for both.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog
from structlog.typing import Processor

MASK = "***"

#: A key that contains one of these names a secret, whatever its value looks like.
SECRET_WORDS = (
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "credential",
    "api_key",
    "apikey",
    "fernet",
)
SECRET_KEYS = frozenset({"sk", "jwt", "pwd", "cookie", "signature"})

_IN_TEXT = (
    # scheme://user:password@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+(?=@)", re.IGNORECASE), rf"\g<1>{MASK}"),
    # Authorization values: `Bearer …`, `token <id>:<hex>`, `jwt …`
    (re.compile(r"\b(bearer|basic|jwt|token)\s+[A-Za-z0-9._~+/:=-]{12,}", re.IGNORECASE), rf"\g<1> {MASK}"),
    # a JWT by its shape
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), MASK),
    # Signature=… of a signed request, and token=… in a query
    (
        re.compile(r"\b((?:signature|access_token|token|password)=)[^\s&,\"']+", re.IGNORECASE),
        rf"\g<1>{MASK}",
    ),
)


def configure_logging(log_format: Literal["text", "json"] = "text", level: str = "INFO") -> None:
    """Send structlog's and the standard library's lines to standard error in one form."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(log_format, shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _formatter(log_format: str, shared: list[Processor]) -> logging.Formatter:
    renderer: Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger that takes an event and its values: `log.info("fired", execution_id=…)`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def mask_secrets(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace secrets in a log line: by the name of the key, and by their shape inside texts."""
    for key, value in event_dict.items():
        if not key.startswith("_"):
            event_dict[key] = mask(value, key)
    return event_dict


def mask(value: Any, key: str = "") -> Any:
    """Return `value` with the secrets in it replaced; containers are copied, not changed."""
    if is_secret(key) and value is not None:
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {name: mask(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(item) for item in value]
    return value


def is_secret(key: str) -> bool:
    """Tell whether a value under this name is never to be shown."""
    name = key.lower().replace("-", "_")
    # The event of structlog and counters are ordinary; the id of a token is how one talks of it.
    if name in {"event", "token_id", "token_count", "tokens"}:
        return False
    return name in SECRET_KEYS or any(word in name for word in SECRET_WORDS)


def mask_text(text: str) -> str:
    """Return the text with secrets of known shape replaced."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text
