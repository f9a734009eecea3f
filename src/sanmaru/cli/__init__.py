"""One file per command, thin: parse, call one library function, print."""
