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


def split_urls(urls: str) -> list[str]:
    """Return the endpoints of one model, which are separated by commas.

    Raises:
        UserError: one is no URL, or stands there twice.
    """
    split = [url.strip() for url in urls.split(",")]
    shown = [without_secrets(url).rstrip("/") for url in split]
    if twice := next((url for place, url in enumerate(shown) if url in shown[:place]), None):
        raise UserError(f"the server's URL {twice} is given twice")
    return split
