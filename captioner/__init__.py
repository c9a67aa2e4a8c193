"""Captioner: a small, fast image captioner that explains itself.

    from captioner import Captioner
    Captioner.from_pretrained().caption("dog.jpg").text

What stands in `__all__` is the public surface. Names are imported when first used, so that
`import captioner` takes no time and PyTorch is loaded only by what needs it.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "Candidate": "captioner.inference.caption",
    "Caption": "captioner.inference.caption",
    "Captioner": "captioner.inference.captioner",
    "Explanation": "captioner.inference.explanation",
    "SearchConfig": "captioner.config",
    "Steering": "captioner.text.steering",
    "load_config": "captioner.config",
    "CaptionerError": "captioner.errors",
    "CheckpointError": "captioner.errors",
    "ConfigError": "captioner.errors",
    "DataError": "captioner.errors",
    "ImageError": "captioner.errors",
    "TrainingError": "captioner.errors",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'captioner' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
