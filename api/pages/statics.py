"""Files that pages need, and the theme: a style sheet of its own that a cookie chooses.

A page is the same for every reader, so it can be kept and compared by its ETag; only
`/theme.css` differs. The switch is a form and works without a script.
"""

from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from api.encoding import encoded
from api.pages.shell import HERE, STATIC_VERSIONS, with_header
from api.problems import ProblemError
from api.routes import respond

COOKIE = "theme"
MAX_FORM_BYTES = 4_096
YEAR_SECONDS = 365 * 86_400
SCHEMES = {"auto": "light dark", "light": "light", "dark": "dark"}
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def add_statics(router: APIRouter) -> None:
    """Static files and the theme."""
    files = {
        name: encoded((HERE / "static" / name).read_bytes(), MEDIA_TYPES["." + name.split(".")[-1]])
        for name in STATIC_VERSIONS
    }

    @router.get("/static/{name}")
    def asset(request: Request, name: str) -> Response:
        if name not in files:
            raise ProblemError(404, "not_found", "no such file")
        response = respond(request, files[name])
        if "v" in request.query_params:
            return with_header(
                response, "cache-control", f"public, max-age={YEAR_SECONDS}, immutable"
            )
        return response

    @router.get("/favicon.ico")
    def icon(request: Request) -> Response:
        return respond(request, files["icon.svg"])

    @router.get("/theme.css")
    def theme(request: Request) -> Response:
        scheme = SCHEMES.get(request.cookies.get(COOKIE, "auto"), SCHEMES["auto"])
        css = f":root {{ color-scheme: {scheme}; }}\n"
        headers = {"cache-control": "private, no-cache", "vary": "cookie"}
        return Response(css, 200, headers, media_type=MEDIA_TYPES[".css"])

    @router.post("/theme")
    async def switch(request: Request) -> Response:
        fields = await _fields(request)
        theme, back = fields.get("theme", ""), fields.get("back", "/")
        if theme not in SCHEMES:
            raise ProblemError(422, "invalid_parameters", "the theme is auto, light or dark")
        # Only a path of ours: no other site may be named.
        path = back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
        response = RedirectResponse(path, 303)
        response.set_cookie(COOKIE, theme, max_age=YEAR_SECONDS, samesite="lax", httponly=True)
        return response


async def _fields(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise ProblemError(413, "too_large", f"a form has at most {MAX_FORM_BYTES} bytes")
    return dict(parse_qsl(body.decode("ascii", "replace")))
