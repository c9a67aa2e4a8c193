"""The network: encoder, attention, cells, decoder, and the folder it is kept in."""
