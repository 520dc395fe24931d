"""What `explain` and `links` know: the links that stand, with all that explains them."""
