"""The commands of `./carillon`, one file per command group."""
