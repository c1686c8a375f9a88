"""What training changed: two or more evaluated runs in, a ledger with cells, tests and verdicts out.

It never samples and never draws a page.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, submodules={"compare", "confirmation", "exchange", "sequential"}
)  # public names
