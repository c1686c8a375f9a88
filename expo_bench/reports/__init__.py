"""Pages and tables of what run folders hold: rows in, HTML out.

It computes no statistic and never asks a model.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submodules={"reporting"})  # a public name
