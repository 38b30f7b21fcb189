"""What every layer may use: processes of a distributed run, progress bars, exit codes, suggestions."""
