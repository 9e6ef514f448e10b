"""What is logged, and how: JSON, a line each, on standard error; nothing of a photograph, a query or a file's name.

A request is told by the pattern of its path and by its id. Of an unexpected error there is where it happened and what
kind it is, not its message, in which a library may quote what it was given.
"""

import logging
import logging.config
import re
import sys
import traceback
import uuid
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def request_id(given: str | None) -> str:
    """The caller's own where it is sane, else a new one."""
    return given if given and SANE_ID.fullmatch(given) else uuid.uuid4().hex


def configure(form: Literal["auto", "json", "text"], level: str) -> None:
    """Set up logging of the whole process: structlog's, uvicorn's, and every library's."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_messages,
    ]
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _plain, renderer],
    }
    own = {"level": level.upper()}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": formatter},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stderr"], "level": "WARNING"},  # libraries; some tell at INFO what files hold
            "loggers": {"cupdisc": own, "uvicorn": own, "py.warnings": {"level": "CRITICAL"}},
        }
    )
    logging.captureWarnings(True)


def _without_messages(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """An exception's kind and where it happened, in place of its traceback with messages."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, BaseException):
        found = (type(found), found, found.__traceback__)
    if isinstance(found, tuple) and found[0] is not None:
        event["error"] = found[0].__name__
        frames = traceback.extract_tb(found[2])
        event["where"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event


def _plain(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Without what uvicorn adds for terminals."""
    event.pop("color_message", None)
    return event


def bind(**fields: Any) -> None:
    """Add fields to every line of this request."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fields)
