"""Checks that need the data, the tokenizer or the architecture, without loading weights."""
