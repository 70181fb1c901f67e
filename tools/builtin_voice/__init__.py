"""The recipe of the built-in voice: teacher speech, training, export and evaluation."""
