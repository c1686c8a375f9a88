"""Who is given which problems, where several engines share the work."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from expo_bench.engines.base import Completion, Request, Scored, ScoreRequest

Key = tuple[str, int | str]
Asked = Request | ScoreRequest
Result = Completion | Scored


@dataclass(slots=True)
class Work:
    """A request and what is still to come of it."""

    request: Asked
    left: set[Key]
    losses: int = 0
    """Replicas that were lost while they had it in hand."""


def next_share(waiting: deque[Work], least: int, n: int) -> list[Work]:
    """Take from the queue half of what is each replica's part of it, `least` samples at least, a problem as a whole."""
    share = [waiting.popleft()]
    # lost twice: alone, so that the problem that costs replicas is found and takes no other with it
    if share[0].losses > 1:
        return share
    size = len(share[0].left)
    goal = max(least, (size + sum(len(work.left) for work in waiting)) // (2 * n))
    while waiting and waiting[0].losses <= 1 and size + len(waiting[0].left) <= goal:
        share.append(waiting.popleft())
        size += len(share[-1].left)
    return share


def undone(share: Sequence[Work]) -> list[Work]:
    """Return what is still to be done of a share whose replica was lost, which is counted."""
    left = [work for work in share if work.left]
    for work in left:
        work.losses += 1
    return left


def remaining(work: Work) -> Asked:
    """Return the request without what is there already."""
    request = work.request
    if isinstance(request, ScoreRequest):
        parts = tuple(one for one in request.continuations if (request.problem_id, one.key) in work.left)
        return replace(request, continuations=parts)
    places = [place for place, index in enumerate(request.sample_indexes) if (request.problem_id, index) in work.left]
    return replace(
        request,
        sample_indexes=tuple(request.sample_indexes[place] for place in places),
        seeds=tuple(request.seeds[place] for place in places),
    )


def key_of(result: Result) -> Key:
    """Return what names a result among all of a call."""
    return result.problem_id, result.sample_index if isinstance(result, Completion) else result.key
