"""The messages that the processes share. Imports nothing else of this package."""
