"""``sovits-serve bench``: load on any server that speaks OpenAI's or api_v2's language, measured."""
