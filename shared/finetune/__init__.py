"""The YAML-driven framework: one schema for the labs' notebooks and for the command line."""
