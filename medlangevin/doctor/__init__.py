"""What works on this machine and what does not, before a night's work finds out. Nothing is asked of the network."""
