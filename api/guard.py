"""What holds for every request: length limits and security headers."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response

MAX_QUERY_BYTES = 2_048
MAX_PATH_BYTES = 1_024
MAX_BODY_BYTES = 16_384
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_OPEN = (b"access-control-allow-origin", b"*")


class Guard:
    """Refuses oversized requests and adds the headers; plain ASGI, so that it costs little."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS, _OPEN]
            await send(message)

        if len(scope["query_string"]) > MAX_QUERY_BYTES:
            detail = f"the query has more than {MAX_QUERY_BYTES} bytes"
            await problem_response(414, "query_too_long", detail)(scope, receive, with_headers)
        elif len(scope.get("raw_path") or b"") > MAX_PATH_BYTES:
            detail = f"the path has more than {MAX_PATH_BYTES} bytes"
            await problem_response(414, "path_too_long", detail)(scope, receive, with_headers)
        elif _declared_length(scope) > MAX_BODY_BYTES:
            detail = f"the body has more than {MAX_BODY_BYTES} bytes"
            await problem_response(413, "too_large", detail)(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else MAX_BODY_BYTES + 1
    return 0
