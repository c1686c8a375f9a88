"""Many trainings and evaluations from one file: a study file in, learning curves, tables, a ledger and a page out.

It starts runs as processes of their own and never trains or samples itself.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submodules={"learning_curves"})  # a public name
