"""HTTP as uvicorn reads it with httptools, without the resources that a careless or hostile client could hold."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from alignkit.serving.limits import MOST_CONNECTIONS, REFUSED_CONNECTIONS
from alignkit.serving.openai_api import envelope
from alignkit.serving.request_faults import RequestFault

# of a request without its body: headers, and the framing of a chunked body
MOST_HEAD_BYTES = 64 * 1024
# the system buffers megabytes of an answer and asks for more only when much of that is sent, so a slow client seems
# to read nothing for a while
DRAIN_TIMES = 3
# for clients past the limit
REFUSED_TIMEOUT_S = 2.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection, with time limits on reading and writing.

    Attributes:
        timeout_s: for headers to arrive; a client that reads nothing of its answer for three times as long is cut off.
        max_connections: open at once; a request on the next few gets 503, and any more are cut off.
    """

    timeout_s = 20.0
    max_connections = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first headers."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._body_bytes = 0
        self._begun = self._in_head = False
        self._unsent = 0
        self._unanswered: list[RequestResponseCycle] = []
        self._head_timer: asyncio.TimerHandle | None = None
        self._drain_timer: asyncio.TimerHandle | None = None
        self._head_timeout_s = self.timeout_s
        self._drain_timeout_s = DRAIN_TIMES * self.timeout_s
        if len(self.connections) > self.max_connections + REFUSED_CONNECTIONS:
            transport.abort()
        elif len(self.connections) > self.max_connections:
            self.app = _too_many_connections
            self._head_timeout_s = min(self.timeout_s, REFUSED_TIMEOUT_S)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks, and the answers."""
        self._head_arrived()
        self._drained()
        # uvicorn tells only the request read last; earlier ones would write to a closed connection
        self.pipeline.clear()
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count bytes that are not part of a body."""
        self._begun, self._body_bytes = False, 0
        super().data_received(data)
        # bytes in which a request begins may also end another, and are not counted
        self._head_bytes = 0 if self._begun else self._head_bytes + len(data) - self._body_bytes
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(431, f"the headers are larger than {MOST_HEAD_BYTES} bytes; send fewer")
        elif self.cycle is None or self.cycle.response_complete:
            self._await_head()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._begun = self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._in_head = False
        self._head_arrived()
        super().on_headers_complete()
        self._unanswered = [cycle for cycle in self._unanswered if not cycle.response_complete]
        self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._head_arrived()
        super().on_message_complete()

    def _await_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._head_timeout_s, self._too_slow)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if self._in_head:
            self._refuse(408, f"the headers did not arrive within {self._head_timeout_s:g} s")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer in our error format, but not inside another answer."""
        self._refuse(400, msg)

    def _refuse(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # or it would appear inside another answer
            self.transport.write(_whole_answer(RequestFault(status, message)))
        self.transport.close()

    def pause_writing(self) -> None:
        """Check that the client reads: one that does not would keep its answer in memory forever."""
        super().pause_writing()
        if self._drain_timer is None:
            self._unsent = self.transport.get_write_buffer_size()
            self._drain_timer = self.loop.call_later(self._drain_timeout_s, self._look_at_unsent)

    def resume_writing(self) -> None:
        """The client has read nearly all."""
        self._drained()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Closing waits for the client to read the rest; one that had all this time will not."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _drained(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None

    def _look_at_unsent(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.transport.abort()
            return
        self._unsent = unsent
        self._drain_timer = self.loop.call_later(self._drain_timeout_s, self._look_at_unsent)


def bounded_protocol(timeout_s: float, max_connections: int) -> type[BoundedProtocol]:
    """The connection class with these limits, for uvicorn."""
    return type("Protocol", (BoundedProtocol,), {"timeout_s": timeout_s, "max_connections": max_connections})


async def _too_many_connections(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"connection": "close", "retry-after": "1"}
    fault = RequestFault(503, "too many clients are connected; try again later", code="overloaded", headers=headers)
    await envelope(fault)(scope, receive, send)


def _whole_answer(fault: RequestFault) -> bytes:
    response = envelope(fault)
    head = f"content-type: application/json\r\ncontent-length: {len(response.body)}\r\nconnection: close\r\n\r\n"
    return STATUS_LINE[fault.status] + head.encode() + bytes(response.body)
