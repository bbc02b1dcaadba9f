"""The websocket in front of a node. Loopback only."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from scripts.devnet.chain.admission import RpcError
from scripts.devnet.chain.node import Node
from scripts.devnet.chain.rpc import Session

HOST = "127.0.0.1"
MAX_REQUEST_BYTES = 4 * 1024 * 1024
_HANDSHAKE_SECONDS = 1.0
PARSE_ERROR = -32700
INVALID_REQUEST = -32600


@asynccontextmanager
async def serving(node: Node, *, port: int) -> AsyncIterator[str]:
    """Serve a node and run its clock; gives the endpoint's URL.

    Raises:
        OSError: If the port is taken.
    """
    async with serve(
        lambda connection: _converse(node, connection),
        HOST,
        port,
        max_size=MAX_REQUEST_BYTES,
        compression=None,
        open_timeout=_HANDSHAKE_SECONDS,
    ) as server:
        clock = asyncio.create_task(node.run_clock())
        try:
            yield f"ws://{HOST}:{_port(server)}"
        finally:
            clock.cancel()
            # Cut, not closed: nobody's last handshake delays the end, and SDK 11.3 hangs for
            # a while when a server says goodbye in the middle of a request.
            for hang_up in tuple(node.hang_ups):
                hang_up()


def _port(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


async def _converse(node: Node, connection: ServerConnection) -> None:
    """Answer one connection until it closes, in the order in which things happened."""
    outbox: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def notify(method: str, name: str, result: object) -> None:
        params = {"subscription": name, "result": result}
        text = json.dumps({"jsonrpc": "2.0", "method": method, "params": params})
        # Soon, not now: the answer that names the subscription goes first.
        loop.call_soon(outbox.put_nowait, text)

    session = Session(node, notify)
    writer = asyncio.create_task(_write(connection, outbox))
    hang_up = connection.transport.abort
    node.hang_ups.add(hang_up)
    try:
        async for text in connection:
            outbox.put_nowait(json.dumps(_answer_text(session, text)))
    except ConnectionClosed:
        pass
    finally:
        node.hang_ups.discard(hang_up)
        session.close()
        writer.cancel()


async def _write(connection: ServerConnection, outbox: "asyncio.Queue[str]") -> None:
    try:
        while True:
            await connection.send(await outbox.get())
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
