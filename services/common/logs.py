"""Logs as JSON lines on standard output, without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import override

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_CREDENTIALS = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s/@:]*:)[^\s/@]+@", re.IGNORECASE)
_SHORTEST_SECRET = 6
_secrets: set[str] = set()


def register_secret(value: str) -> None:
    """Never let `value` stand in a log line. Values under 6 characters are not searched for:
    they would blot out ordinary text."""
    if len(value) >= _SHORTEST_SECRET:
        _secrets.add(value)


def redact(text: str) -> str:
    """`text` without registered secrets and without passwords in URLs."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return _CREDENTIALS.sub(r"\g<head>***@", text)


class JsonLines(logging.Formatter):
    """One JSON object a record: time (RFC 3339 UTC), level, logger, message, and the extras."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name, value in vars(record).items() if name not in _PLAIN})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # Before encoding, for JSON may escape parts of a secret; and after it, for what lies deeper.
        return redact(json.dumps({name: _clean(value) for name, value in line.items()}, default=str))


def _clean(value: object) -> object:
    return redact(value) if isinstance(value, str) else value


def configure(service: str, level: str) -> None:
    """Send all logs of this process to standard output as JSON lines, from `level` on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its request lines repeat what the metrics count, at the rate of the probes.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
