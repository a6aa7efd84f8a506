"""Toy posteriors whose truth is known: Figures 2 and 3 of the Langevin autoencoder paper, with numbers."""
