"""The nouns: one a file, plain frozen values that any layer may hold."""
