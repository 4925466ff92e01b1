"""Training: the only place where methods meet. No method is named here."""
