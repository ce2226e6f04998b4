"""The compiled part; everything else about the package stands in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "dumpfmt._native",
            sources=["dumpfmt/csrc/native.c", "dumpfmt/csrc/dumpscan.c"],
            depends=["dumpfmt/csrc/dumpscan.h"],
            extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers"],
            optional=True,  # without a compiler the Python code does the same, slower
        )
    ]
)
