"""The cffi part of the embedding library: the C code that lets C call the functions of `_runtime`.

Only C code is made here; `build.py` compiles it. (setuptools' cffi integration cannot build an embedding library: it neither
links libpython nor gives the file a usable name.)
"""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

SOURCES = Path(__file__).parent / "csrc"
MODULE = "stdioproc_embed_glue"

_CALLBACKS = """
extern "Python+C" int32_t stdioproc_python_request (const struct stdioproc_request * request, struct stdioproc_reply * reply);
extern "Python+C" void stdioproc_python_release (uint64_t token);
char * getenv (const char * name);
"""

_C_CODE = """
#include "embed.h"
#include <stdlib.h>

static int cffi_start_python (void);

int stdioproc_cffi_start (void)
{
    return cffi_start_python ();
}
"""

_INIT_CODE = f"""
from {MODULE} import ffi, lib
from ctypes_shim import _runtime
_runtime.attach(ffi, lib)
"""


def write_glue(target: Path) -> None:
    """Write the generated C file to `target`. Its structures are read from csrc/bridge.h, which stays their one definition."""
    from cffi import FFI  # only who builds needs it

    builder = FFI()
    builder.embedding_api("")
    builder.cdef(_structures() + _CALLBACKS)
    builder.embedding_init_code(_INIT_CODE)
    builder.set_source(MODULE, _C_CODE)
    with redirect_stdout(StringIO()):  # cffi says what it writes, which is no business of the user's
        builder.emit_c_code(str(target))


def _structures() -> str:
    """The structures of bridge.h in the form that cffi's parser reads: no comments, no preprocessor, no function pointers."""
    text = re.sub(r"/\*.*?\*/", "", (SOURCES / "bridge.h").read_text(encoding="utf-8"), flags=re.DOTALL)
    wanted = (
        "struct stdioproc_bytes",
        "enum stdioproc_request_kind",
        "struct stdioproc_request",
        "struct stdioproc_reply",
    )
    found = [re.search(rf"^{re.escape(name)}\n{{.*?^}};$", text, flags=re.DOTALL | re.MULTILINE) for name in wanted]
    return "\n".join(match.group() for match in found if match)
