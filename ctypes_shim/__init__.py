"""libelektra-plugin-stdioproc.so: the Elektra plugin that runs programs as plugins, and what builds and installs it.

`csrc/` holds the C code, `_runtime` and `_requests` the Python side that runs inside the host, `build`, `install`, `doctor` and
`mount` what the commands `stdioproc shim …` and `stdioproc mount` do. Importing this package imports none of them.
"""
