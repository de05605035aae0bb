"""What a query finds in a user's index: by each of several vectors, before, during and after a migration."""
