"""Plugins to run, to read and to start from: one file each."""
