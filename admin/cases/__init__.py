"""Cases: whatever a person must decide, from a dispute to a listing's review, in one queue."""
