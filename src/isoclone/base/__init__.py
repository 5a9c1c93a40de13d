"""What every room stands on: errors, records, atomic files, names, timers, process groups."""
