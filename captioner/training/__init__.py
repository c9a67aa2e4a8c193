"""Teaching the network."""
