"""What one connection may cost before there is a request that could be refused: time, number, slow readers.

uvicorn reads heads of requests for as long as a client likes, and answers what is no HTTP in plain text. This is its
protocol with limits, passed to it as `http=`.
"""

import asyncio
import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

from uvicorn.protocols.http.h11_impl import H11Protocol

from service.observability import Metrics
from service.problems import MEDIA_TYPE, Problem

LARGEST_HEAD = 16 * 2**10  # bytes of request line and headers
LEAST_TAKEN = 256 * 2**10  # bytes of an answer that a client has to take in the time for which it may keep us waiting


def counted_as(host: str) -> str:
    """The address that a caller is counted by; of IPv6 the first 64 bits, which one household or machine has to itself.

    What is no address stays as it is.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:  # as a socket of both kinds calls IPv4's
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))


@dataclass
class Connections:
    """What all connections of one server may do, and how many there are. For one event loop."""

    most: int  # at the same time; beyond it, one without a request under way makes room
    most_per_address: int  # from one address; 0 for any number, as behind a proxy all come from one
    head_timeout_s: float  # until the head of a request has arrived, or anything of the first one
    write_timeout_s: float  # in which a client has to take LEAST_TAKEN of its answer, or the rest
    metrics: Metrics
    addresses: Counter[str] = field(default_factory=Counter)
    idle: "dict[_LimitedProtocol, None]" = field(default_factory=dict)  # no head has come yet; the longest silent first

    def protocol(self) -> type[asyncio.Protocol]:
        """uvicorn's protocol with these limits."""
        return type("Limited", (_LimitedProtocol,), {"shared": self})


class _LimitedProtocol(H11Protocol):
    """One connection."""

    shared: Connections
    _head_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None  # while the client has to take what is left for it
    _address: str | None = None  # that it is counted by

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        shared, address = self.shared, counted_as(self.client[0] if self.client else "")
        shared.addresses[address] += 1
        self._address = address
        crowd = shared.most_per_address and shared.addresses[address] > shared.most_per_address
        full = shared.addresses.total() > shared.most
        silent = next(filter(_LimitedProtocol._has_been_read, shared.idle), None) if full else None
        if crowd or (full and silent is None):
            self._end(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", "more connections than are held")
            return
        if silent is not None:
            silent._make_room()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        self.shared.idle.pop(self, None)
        if self._address is not None:
            self.shared.addresses[self._address] -= 1
            if not self.shared.addresses[self._address]:
                del self.shared.addresses[self._address]
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        before = self.cycle
        if self._head_timer is None and (before is None or before.response_complete):
            self._await_head()  # the first bytes of a further request
        super().data_received(data)
        if self.cycle is not before:
            self._head_has_come()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None
        super().resume_writing()
        self._close_in_time()

    def on_response_complete(self) -> None:
        before = self.cycle
        super().on_response_complete()
        if self.cycle is before:  # else a further request had come already
            self.shared.idle[self] = None
        self._close_in_time()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._close_in_time()

    def send_400_response(self, msg: str) -> None:
        self._end(HTTPStatus.BAD_REQUEST, "invalid_http", "this is no HTTP/1.1 request")

    def _await_head(self) -> None:
        self.shared.idle.setdefault(self)
        self._head_timer = self.loop.call_later(self.shared.head_timeout_s, self._head_is_too_slow)

    def _head_has_come(self) -> None:
        self.shared.idle.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _make_room(self) -> None:
        """Hang up without a word, as any server may on a connection without a request."""
        self.shared.idle.pop(self, None)
        self.shared.metrics.refused("idle_connection")
        self._cancel_timers()
        self.transport.abort()

    def _head_is_too_slow(self) -> None:
        self._head_timer = None
        detail = f"the head of the request did not arrive within {self.shared.head_timeout_s:g} s"
        self._end(HTTPStatus.REQUEST_TIMEOUT, "head_too_slow", detail)

    def _has_been_read(self) -> bool:
        """uvicorn calls an answer complete that still waits here for a slow reader."""
        return not self.transport.get_write_buffer_size()

    def _watch_reader(self) -> None:
        untaken = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.shared.write_timeout_s, self._look_at_reader, untaken)

    def _look_at_reader(self, untaken: int) -> None:
        if untaken - self.transport.get_write_buffer_size() >= LEAST_TAKEN:
            self._watch_reader()
            return
        self._reader_timer = None
        if self.flow.write_paused:
            self.shared.metrics.refused("slow_reader")
        self.transport.abort()

    def _end(self, status: HTTPStatus, code: str, detail: str) -> None:
        """Answer with a problem, past the parser, and hang up."""
        self._cancel_timers()
        self.shared.idle.pop(self, None)
        self.shared.metrics.refused(code)
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # in the middle of another answer
        if self.transport.is_closing():
            self._close_in_time()
            return
        body = Problem(title=status.phrase, status=status, detail=detail, code=code).model_dump_json().encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        )
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            head += "retry-after: 1\r\n"
        self.transport.write(f"{head}\r\n".encode() + body)
        self.transport.close()
        self._close_in_time()

    def _close_in_time(self) -> None:
        """A closed connection stays until the client has taken the rest, but not for ever."""
        if self.transport.is_closing() and self._reader_timer is None:
            self._watch_reader()

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._reader_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._reader_timer = None
