"""The command `kashi`, one file for each kind of user."""
