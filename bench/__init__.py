"""How fast the bridge is, against what is physically possible and against Elektra's own plugins: `python -m bench`.

README.md says how to read it.
"""
