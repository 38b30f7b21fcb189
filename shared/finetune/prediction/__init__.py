"""Inference over files: inputs in several formats, and an output file that can be resumed."""
