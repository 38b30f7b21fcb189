"""Inference over files: inputs of several formats, an output file that can be resumed."""
