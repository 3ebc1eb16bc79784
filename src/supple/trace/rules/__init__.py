"""One small function for each operator family: how its output's axes follow from its inputs'."""
