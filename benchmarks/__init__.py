"""Speed and memory against peers, each by one command: ``python -m benchmarks sft | merge | inference | table``."""
