"""Serves the pages: read-only, to this machine alone unless it is told otherwise, and then behind a token."""

import secrets
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from expo_bench.errors import UserError
from expo_bench.reports.pages import policy, render
from expo_bench.reports.workbench.pages_of import Pages

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach what is bound there."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def application(pages: Pages, token: str = "") -> "Starlette":
    """Return the application; with a token every address begins with it.

    Without one it answers only to the names of this machine, so that no page from elsewhere can read it through a name
    that points here.
    """
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError as error:
        raise UserError("the workbench needs Starlette and uvicorn: pip install -e '.[view]'") from error

    def answer(request: "Request") -> "Response":
        return _answer(pages, request, token)

    return Starlette(routes=[Route("/{address:path}", answer, methods=["GET", "HEAD"])])


def _answer(pages: Pages, request: "Request", token: str) -> "Response":
    from starlette.responses import FileResponse, RedirectResponse

    # written in one way, whatever way it was asked in; of a decoded path nobody knows where a "?" began
    raw = request.scope["raw_path"].decode("latin-1").partition("?")[0]
    parts = [quote(unquote(part), safe="") for part in raw.split("/")]
    address = "/".join(parts).lstrip("/")
    if token:
        given, _, address = address.partition("/")
        if not secrets.compare_digest(given.encode(), token.encode()):
            return _page(403, _message("Not allowed", "The address must begin with the token that the server printed."))
    elif request.headers.get("host", "").rpartition(":")[0] not in _NAMES and request.headers.get("host") not in _NAMES:
        return _page(403, _message("Not allowed", "This server answers to localhost alone."))
    if address == "" or address.endswith("/"):
        # without empty parts: "//host" would lead to another server
        return RedirectResponse("/" + "/".join([*filter(None, parts), "index.html"]))
    try:
        if file := pages.file(address):
            # whatever policy stands in it: the folder may have come from elsewhere
            headers = {**_SAFE, "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'"}
            return FileResponse(file, headers=headers)
        query: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            query.setdefault(name, []).append(value)
        found = pages.page(address, query)
    except UserError as error:
        return _page(500, _message("This cannot be shown", str(error), "../" * address.count("/")))
    if found is None:
        return _page(404, _message("Nothing here", "There is no such page.", "../" * address.count("/")))
    return _page(200, found)


def _message(title: str, text: str, up: str = "") -> str:
    common = {"crumbs": [], "tabs": [], "tab": "", "live": 0, "site": "", "up": up}
    return render("workbench_message.html.j2", {**common, "title": title, "lead": text}, workbench=True)


_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _page(status: int, text: str) -> "Response":
    from starlette.responses import HTMLResponse

    headers = {**_SAFE, "Content-Security-Policy": f"{policy(workbench=True)}; frame-ancestors 'none'"}
    return HTMLResponse(text.encode(errors="replace"), status_code=status, headers=headers)


def serve(pages: Pages, host: str, port: int, told: Any) -> None:
    """Serve until ctrl-C.

    Args:
        pages: what to serve.
        host: where to listen; elsewhere than on this machine a token is made up.
        port: 0 for any that is free.
        told: called with the address once it is listened to.

    Raises:
        UserError: uvicorn is not installed, or the port is taken.
    """
    import socket

    token = "" if is_local(host) else secrets.token_urlsafe(18)
    app = application(pages, token)
    try:
        import uvicorn
    except ImportError as error:
        raise UserError("the workbench needs Starlette and uvicorn: pip install -e '.[view]'") from error
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; choose another --port"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    told(f"http://{shown}:{listener.getsockname()[1]}/{token + '/' if token else ''}")
    try:
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])
    finally:
        pages.close()
