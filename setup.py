"""The compiled parts; everything else about the package stands in pyproject.toml."""

from __future__ import annotations

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    """Also builds the keeper, a program: it lies beside the module that starts it."""

    def build_extension(self, ext: Extension) -> None:
        if not ext.name.endswith("stdioproc-keeper"):
            super().build_extension(ext)
            return
        target = self.get_ext_fullpath(ext.name)
        objects = self.compiler.compile(ext.sources, output_dir=self.build_temp, extra_postargs=ext.extra_compile_args)
        self.compiler.link_executable(objects, os.path.basename(target), output_dir=os.path.dirname(target))

    def get_ext_filename(self, fullname: str) -> str:
        if fullname.endswith("stdioproc-keeper"):
            return os.path.join(*fullname.split("."))
        return super().get_ext_filename(fullname)


C_FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra"]

setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(
            "dumpfmt._native",
            sources=["dumpfmt/csrc/native.c", "dumpfmt/csrc/dumpscan.c"],
            depends=["dumpfmt/csrc/dumpscan.h"],
            extra_compile_args=[*C_FLAGS, "-Wno-missing-field-initializers"],
            optional=True,  # without a compiler the Python code does the same, slower
        ),
        Extension(
            "stdioproc.host.stdioproc-keeper",
            sources=["stdioproc/host/csrc/keeper.c"],
            extra_compile_args=C_FLAGS,
            optional=True,  # without it a killed host may leave a child behind (stdioproc/host/spawn.py)
        ),
    ],
)
