"""The command line `repro`: it parses, calls the libraries and prints."""
