"""Figures of the pages: numbers in, SVG or PNG out.

It reads no file.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submodules={"drawings"})  # a public name
