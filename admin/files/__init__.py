"""What people upload: recognised by content, kept in one storage, opened only by who may."""
