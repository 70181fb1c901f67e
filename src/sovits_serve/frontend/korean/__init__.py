"""Korean: letters and numbers spelled out, the rules of standard pronunciation, jamo."""
