"""The one queue between HTTP workers and engines: admission, order, deadlines, which engine, retry.

``core.py`` is the whole policy as a plain object (START READING HERE); ``server.py`` gives it
connections, ``process.py`` a process.
"""
