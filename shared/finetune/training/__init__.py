"""Training: arguments, trainers, one run, its files."""
