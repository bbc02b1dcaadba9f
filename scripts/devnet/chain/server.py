"""The websocket in front of a node. Loopback only."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from scripts.devnet.chain.admission import RpcError
from scripts.devnet.chain.faults import CONTROL_PATH, Line
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.rpc import Notify, Session

HOST = "127.0.0.1"
MAX_REQUEST_BYTES = 4 * 1024 * 1024
_HANDSHAKE_SECONDS = 600.0
"""Longer than any freeze; the end cuts what is left."""
PARSE_ERROR = -32700
INVALID_REQUEST = -32600


@asynccontextmanager
async def serving(node: Node, *, port: int) -> AsyncIterator[str]:
    """Serve a node and run its clock; gives the endpoint's URL.

    Raises:
        OSError: If the port is taken.
    """
    front = _Front(node)
    await front.listen(port)
    node.faults.restart = front.restart
    clock = asyncio.create_task(node.run_clock())
    try:
        yield f"ws://{HOST}:{front.port}"
    finally:
        clock.cancel()
        await front.end()


class _Front:
    """The listening socket, which can go away for a while."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def listen(self, port: int) -> None:
        self._server = await serve(
            self._converse,
            HOST,
            port,
            max_size=MAX_REQUEST_BYTES,
            compression=None,
            open_timeout=_HANDSHAKE_SECONDS,
            process_request=self._shake_hands,
        )
        self.port = int(next(iter(self._server.sockets)).getsockname()[1])

    def restart(self, down_seconds: float) -> None:
        task = asyncio.create_task(self._restarted(down_seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._hang_up()

    async def _restarted(self, down_seconds: float) -> None:
        await asyncio.sleep(0.05)  # the answer to the request goes out first
        await self._hang_up()
        await asyncio.sleep(down_seconds)
        await self.listen(self.port)

    async def _hang_up(self) -> None:
        """Cut, not close: nobody's last handshake delays the end."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close(close_connections=False)
        for line in tuple(self._node.faults.lines):
            line.cut()
        for handler in tuple(server.handlers.values()):  # handshakes that never came
            handler.cancel()
        await server.wait_closed()

    async def _shake_hands(
        self, _connection: ServerConnection, request: Request
    ) -> Response | None:
        if request.path != CONTROL_PATH:
            await self._node.faults.before_answer()
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        """Answer one connection until it closes, in the order in which things happened."""
        node, outbox = self._node, asyncio.Queue[str]()
        line = self._line(connection)
        session = Session(node, _notifier(outbox))
        writer = asyncio.create_task(_write(connection, outbox, line))
        node.faults.lines.add(line)
        try:
            async for text in connection:
                await node.faults.before_answer(line)
                if not line.dead:
                    outbox.put_nowait(json.dumps(_answer_text(session, text)))
        except ConnectionClosed:
            pass
        finally:
            node.faults.lines.discard(line)
            session.close()
            writer.cancel()

    def _line(self, connection: ServerConnection) -> Line:
        def close() -> None:
            task = asyncio.create_task(connection.close())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        request = connection.request
        spared = request is not None and request.path == CONTROL_PATH
        return Line(cut=connection.transport.abort, close=close, spared=spared)


def _notifier(outbox: "asyncio.Queue[str]") -> Notify:
    loop = asyncio.get_running_loop()

    def notify(method: str, name: str, result: object) -> None:
        params = {"subscription": name, "result": result}
        text = json.dumps({"jsonrpc": "2.0", "method": method, "params": params})
        # Soon, not now: the answer that names the subscription goes first.
        loop.call_soon(outbox.put_nowait, text)

    return notify


async def _write(connection: ServerConnection, outbox: "asyncio.Queue[str]", line: Line) -> None:
    try:
        while True:
            text = await outbox.get()
            if not line.dead:
                await connection.send(text)
    except ConnectionClosed:
        return


def _answer_text(session: Session, text: str | bytes) -> Any:
    try:
        message = json.loads(text)
    except ValueError as error:
        return _error(None, RpcError(PARSE_ERROR, f"Parse error: {error}"))
    if isinstance(message, list):
        return [_answer(session, request) for request in message]
    return _answer(session, message)


def _answer(session: Session, request: Any) -> dict[str, Any]:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _error(None, RpcError(INVALID_REQUEST, "Invalid Request"))
    identity, params = request.get("id"), request.get("params") or []
    if not isinstance(params, list):
        return _error(identity, RpcError(-32602, "Invalid params: a list is expected"))
    try:
        result = session.call(request["method"], params)
    except RpcError as error:
        return _error(identity, error)
    return {"jsonrpc": "2.0", "id": identity, "result": result}


def _error(identity: object, error: RpcError) -> dict[str, Any]:
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": identity, "error": body}
