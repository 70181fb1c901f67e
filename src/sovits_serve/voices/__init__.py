"""References and what is cached of them."""
