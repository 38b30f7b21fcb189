"""The keys of a configuration: sections, types, and their lines in the YAML file."""
