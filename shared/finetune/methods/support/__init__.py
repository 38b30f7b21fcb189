"""Shared by several methods; not methods themselves."""
