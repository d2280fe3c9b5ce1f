"""How fast the library is: ratios against the limit and against a peer. Run: `make bench`."""
