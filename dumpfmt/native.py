"""The compiled part where it was built, else None; everything works without it, slower."""

from __future__ import annotations

from dumpfmt.key import Key, MetaKey

__all__ = ["native"]

try:
    from dumpfmt import _native as native
except ImportError:  # no compiler when the package was installed
    native = None  # type: ignore[assignment]  # None is what says so
else:
    native.configure(Key, MetaKey)
