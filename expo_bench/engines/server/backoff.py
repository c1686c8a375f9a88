"""How long to wait before an HTTP request is tried again; by hand, since tenacity's waits know no Retry-After."""

import email.utils
import random
import time
from contextlib import suppress

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 300.0


def retry_delay(attempt: int, retry_after: str | None = None) -> float:
    """Return the seconds to wait after a failed attempt, the first being 0.

    What the server asks for in its Retry-After header, else a random share of a time that doubles with each attempt.
    """
    asked = _seconds(retry_after) if retry_after else 0.0
    if asked > 0:
        return min(asked, LONGEST_RETRY_AFTER_SECONDS)
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, 20))
    # random, so that requests that failed together do not come back together
    return random.uniform(longest / 2, longest)


def _seconds(retry_after: str) -> float:
    """Read a number of seconds or a date; 0 where it is neither."""
    with suppress(ValueError):
        return float(retry_after)
    with suppress(ValueError, TypeError, OverflowError):
        return email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    return 0.0
