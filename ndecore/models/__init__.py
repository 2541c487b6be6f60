"""Neural differential equation blocks and the models built from them."""
