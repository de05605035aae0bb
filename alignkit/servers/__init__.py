"""What every client of a model server needs: parsing its address as users type it, and treating its text as data."""
