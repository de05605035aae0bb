"""The Hugging Face Hub: heads and students are fetched from it, and exports are put there."""
