"""The live store: what it acknowledged is there, whoever else writes and however it ends."""
