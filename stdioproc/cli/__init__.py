"""The commands. Nothing is imported here: `pluginproc` starts plugins thousands of times a day."""
