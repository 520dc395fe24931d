"""RAM: roles, users, policies and who has which; and the documents of deploy/ from which a deployment's roles are made."""
