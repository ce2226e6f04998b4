"""Elektra plugins in child processes: the protocol, without any I/O.

Whoever writes a plugin imports `stdioproc.child`; whoever runs one, `stdioproc.host`.
"""
