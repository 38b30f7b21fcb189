"""What several methods share; not methods themselves."""
