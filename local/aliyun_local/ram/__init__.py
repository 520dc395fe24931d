"""RAM: roles, users, policies and who has which."""
