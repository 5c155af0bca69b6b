"""The S3 door itself: one request in, one answer out. Pure ASGI; no framework, no state but a counter and kept keys.

    authentic   who signed this                      BadCredential, SessionEnded (counted, not logged one by one)
    routes      which operation of which place       Unsupported
    elsewhere   another project than the session's   404, and a refusal in the ledger
    operation   one call of `limen.access`           durable before it returns
    send        status, headers, then the Delivery   which checks before each chunk that the session is not cut

Nothing is sent before the operation returned, and no body is received before the operation asks for it. Whatever fails
unforeseen is a 500 in the operator's log, once; after the first byte it cuts the connection instead.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import structlog

from limen.core.errors import BadCredential, Denied, LimenError, NotFound
from limen.core.types import Action, Client
from limen.doors.s3 import cors, routes
from limen.doors.s3.authentic import Authenticator
from limen.doors.s3.call import Call
from limen.doors.s3.errors import NoSuchBucket
from limen.doors.s3.reply import Reply, header, refusal
from limen.formats import s3uri, sigv4

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from limen.access import Access, Delivery
    from limen.core.types import Session

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

log = structlog.get_logger("limen.doors.s3")

# A refused upload's remaining bytes are let in and dropped up to this, as closing at once would reset the connection
# before the writer has read why; beyond it the connection is closed.
DROPPED_AT_MOST = 16 << 20
# From this length on a reader who went away is noticed while sending.
WATCHED_FROM = 1 << 20
_NO_BODY = frozenset({204, 304})
_ACTIONS = {"GET": Action.READ, "HEAD": Action.HEAD, "DELETE": Action.DELETE}


class S3Door:
    """Projects as S3 buckets. Owned by the event loop's thread.

    `secret_for` gives an access key's secret; `resolve` opens a session token. `unresolved` hears of every request that
    proved no session, with its error, so that they can be counted. `domain` is where virtual-host buckets live; `origins`
    are the web origins whose pages may read answers.
    """

    def __init__(
        self,
        access: Access,
        secret_for: Callable[[str], str],
        resolve: Callable[[str, str], Session],
        *,
        now: Callable[[], int],
        region: str,
        domain: str,
        unresolved: Callable[[LimenError], None] = lambda _: None,
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self._access = access
        self._authenticator = Authenticator(secret_for, resolve, region=region)
        self._now = now
        self._region = region
        self._domain = domain
        self._unresolved = unresolved
        self._origins = origins
        self._count = itertools.count(1)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, receive, send, request_id=f"{self._now():08X}{next(self._count):08X}")
        try:
            reply = await self._answer(exchange)
        except LimenError as error:
            reply = exchange.refusal(error)
        except Exception:
            log.exception("a request failed", request_id=exchange.request_id)
            reply = exchange.refusal(None)
            reply.headers.append((b"connection", b"close"))
        if self._origins and exchange.request is not None:
            reply.headers += cors.allow(exchange.request.headers, origins=self._origins)
        await exchange.send(reply)

    async def _answer(self, exchange: _Exchange) -> Reply:
        scope = exchange.scope
        session, verified = None, None
        try:
            request = sigv4.Request.of(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"])
            exchange.request = request
            if request.method == "OPTIONS":
                return cors.preflight(request.headers, origins=self._origins)
            session, verified = self._authenticator.session_of(request, now=self._now())
        except LimenError as error:
            if not isinstance(error, Denied) or error.rule != "cors":
                self._unresolved(error)
            if isinstance(error, BadCredential):
                log.debug("credential refused", step=error.step, request_id=exchange.request_id)
            raise
        headers = request.headers
        if verified.presigned:  # some signers move x-amz-* headers into the query, where they are signed all the same
            moved = {name.lower(): value for name, value in request.params.items() if name.lower().startswith("x-amz-")}
            headers = {**moved, **headers}
        call = Call(
            method=request.method,
            place=s3uri.place(request.path, headers.get("host", ""), domain=self._domain),
            params=request.params,
            headers=headers,
            session=session,
            client=Client((scope.get("client") or ("",))[0], headers.get("user-agent", "")),
            verified=verified,
            region=self._region,
            request_id=exchange.request_id,
            receive=exchange.receive,
            abort=exchange.abort,
        )
        if call.place != ("", "") and call.place.bucket != session.project:
            await self._elsewhere(call)
        return await routes.operation_for(call)(self._access, call)

    async def _elsewhere(self, call: Call) -> None:
        """Refuse another bucket, whoever's and whether or not it is there, for every operation alike."""
        listing = not call.key and call.method in {"GET", "HEAD"}
        action = Action.LIST if listing else _ACTIONS.get(call.method, Action.WRITE)
        try:
            await self._access.elsewhere(call.session, call.place.bucket, call.key, action=action, client=call.client)
        except NotFound as e:
            if call.method == "PUT" and not call.key:
                raise Denied(f"buckets are projects, and the lab makes them; yours is {call.session.project!r}") from e
            raise NoSuchBucket(str(e)) from e
        raise RuntimeError("a request for another project was let through")


class _ReaderGoneError(ConnectionError):
    """The reader closed the connection while its bytes were being sent."""


class _Exchange:
    """One request's way in and out: what was received, what was sent."""

    def __init__(self, scope: Message, receive: Receive, send: Send, *, request_id: str) -> None:
        self.scope = scope
        self.request_id = request_id
        self.request: sigv4.Request | None = None
        abort = scope.get("extensions", {}).get("limen.abort")
        if abort is None:
            raise RuntimeError("the server must put limen.abort into the scope: a pause could not cut this connection")
        self.abort: Callable[[], None] = abort
        self._receive = receive
        self._send = send
        self._received_all = False
        self._started = False

    async def receive(self) -> Message:
        """The next of the body, from the server."""
        message = await self._receive()
        self._received_all = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def refusal(self, error: LimenError | None) -> Reply:
        """An error in S3's words, for this request."""
        return refusal(error, resource=self._resource(), request_id=self.request_id)

    async def send(self, reply: Reply) -> None:
        """Send the answer: its few bytes, or its delivery."""
        if reply.delivery is not None:
            await self._deliver(reply, reply.delivery)
            return
        head = self.scope["method"] == "HEAD"
        if reply.status in _NO_BODY or head:
            reply.body = b""
        if not head and reply.status not in _NO_BODY:
            reply.headers.append(header("content-length", str(len(reply.body))))
        await self._start(reply)
        await self._send({"type": "http.response.body", "body": reply.body})

    async def _start(self, reply: Reply) -> None:
        headers = [*reply.headers, header("x-amz-request-id", self.request_id)]
        if not self._received_all and self._must_close():
            headers.append((b"connection", b"close"))
        self._started = True
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})

    async def _deliver(self, reply: Reply, delivery: Delivery) -> None:
        """Send a delivery's span, or say or show that it failed."""
        try:
            await self._hand_over(reply, delivery)
        except _ReaderGoneError:
            return
        except Denied:
            await asyncio.sleep(0)  # cut by a pause: the connection is reset already; let the server notice
        except LimenError as error:
            await self._fail(error)
        except Exception:
            log.exception("a delivery failed", request_id=self.request_id, entry=delivery.receipt.index)
            await self._fail(None)

    async def _hand_over(self, reply: Reply, delivery: Delivery) -> None:
        """Send the head with the first chunk, so that both go under the delivery's watch for pauses; then the rest."""
        left = delivery.span.end - delivery.span.start
        gone = asyncio.ensure_future(self._gone()) if left > WATCHED_FROM else None

        async def send_chunk(chunk: bytes | memoryview) -> None:
            nonlocal left
            if gone is not None and gone.done():
                raise _ReaderGoneError
            if not self._started:
                await self._start(reply)
            left -= len(chunk)
            await self._send({"type": "http.response.body", "body": chunk, "more_body": left > 0})

        try:
            await delivery.send_to(send_chunk, self.abort)
        finally:
            if gone is not None:
                gone.cancel()
        if left > 0:
            raise RuntimeError(f"a copy ended {left} bytes short of its length")
        if not self._started:  # an empty object has no chunk
            await self._start(reply)
            await self._send({"type": "http.response.body", "body": b""})

    async def _fail(self, error: LimenError | None) -> None:
        """Say so if nothing was sent yet; otherwise cut, as the length that was promised can't be kept."""
        if not self._started:
            await self.send(self.refusal(error))
            return
        self.abort()
        await asyncio.sleep(0)

    async def _gone(self) -> None:
        """Return once the reader has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _must_close(self) -> bool:
        """Whether what is left of the body is too much, or too unclear, to be read away."""
        headers = self.request.headers if self.request is not None else {}
        if "transfer-encoding" in headers or headers.get("expect", "").lower() == "100-continue":
            return True
        length = headers.get("content-length", "0")
        return not length.isdigit() or int(length) > DROPPED_AT_MOST

    def _resource(self) -> str:
        return self.request.path if self.request is not None else ""
