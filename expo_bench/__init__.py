"""expo-bench: pass@k and policy likelihood on mathematics benchmarks.

The public names stand in `__init__.pyi`, once, for readers, type checkers and Python alike; everything else may change.
They are loaded when first used, so that importing the package costs nothing.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
