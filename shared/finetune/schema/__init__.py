"""What a configuration may hold: sections, keys, types, and where each stands in the YAML file."""
