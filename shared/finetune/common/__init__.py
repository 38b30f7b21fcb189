"""What every other part may use: processes of a distributed run, progress bars, exit codes, suggestions."""
