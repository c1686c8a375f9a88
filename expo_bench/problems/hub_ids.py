"""Datasets of the hub that are no benchmark known here: OWNER/NAME, with a revision, a configuration, a split.

hf://datasets/OWNER/NAME@REVISION:CONFIG/SPLIT, of which all but OWNER/NAME may be left out.
"""

import re
from dataclasses import dataclass

from expo_bench.errors import UserError
from expo_bench.problems.base import Row, Unavailable

_ADDRESS = re.compile(
    r"(?P<scheme>hf://)?(?:datasets/)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+?))?(?::(?P<config>[\w.+-]+))?"
    r"(?:/(?P<split>[\w.-]+))?"
)
_FILE = re.compile(r"\.(?:jsonl?|csv|tsv|parquet|arrow|txt|ya?ml|gz|zst|zip|eval)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where rows of the hub stand."""

    repo: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None


def parse(text: str) -> Address | None:
    """Return the address that a text is; None where it is none, such as the path of a file that is not there."""
    found = _ADDRESS.fullmatch(text)
    if found is None or (_FILE.search(text) and not found["scheme"]) or text.startswith((".", "/", "~")):
        return None
    if found["split"] and not found["scheme"]:
        return None
    return Address(repo=found["repo"], revision=found["revision"], config=found["config"], split=found["split"])


def rows(address: Address, split: str | None, revision: str | None) -> tuple[list[tuple[str, Row]], str | None, str]:
    """Return the rows of one split with their places, the commit that they come from, and the split.

    The split is the address's, else the one that is asked for, else test; where there is only one, that.

    Raises:
        UserError: no network and nothing in the cache, or no such dataset, configuration or split.
    """
    from expo_bench.problems import hub

    wanted = address.split or split
    try:
        found, commit, split = hub.fetch_split(address.repo, address.config, wanted, address.revision or revision)
    except Unavailable as error:
        raise UserError(
            f"cannot get {address.repo} from the hub: {error}; check the name, the network and HF_HUB_OFFLINE, or "
            "download its files and give their path"
        ) from error
    return [(f"hub:{address.repo} {split} row {number}", row) for number, row in enumerate(found)], commit, split
