"""The base of all rooms: errors, records, atomic files, names, timers, process groups."""
