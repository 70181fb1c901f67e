"""HTTP: dialects in, speech out. Runs in HTTP workers and under any ASGI server; loads no torch."""
