"""Where a server is and how it is entered; what of that may be shown."""

import os
from urllib.parse import urlsplit

from expo_bench.errors import UserError


def read_key() -> str:
    """Return OPENAI_API_KEY, or what servers without keys are content with."""
    key = os.environ.get("OPENAI_API_KEY") or "EMPTY"
    if not (key.isascii() and key.isprintable()):
        raise UserError("OPENAI_API_KEY holds a character that cannot be sent: was it pasted with a line break?")
    return key


def without_secrets(url: str) -> str:
    """Return the URL without user, password, query and fragment."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = None
    if parts.scheme not in ("http", "https") or not parts.hostname or port is None:
        raise UserError("the server's URL must look like http://HOST:PORT/v1")
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
