"""Candidate positives, and how likely a policy finds them: problems in; candidates, likelihoods, two properties out.

It never trains and never judges an answer itself.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submodules={"two_property"})  # a public name
