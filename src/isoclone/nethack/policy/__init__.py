"""The policy of NetHack: encoders of terminal screens in front of a recurrent core."""
