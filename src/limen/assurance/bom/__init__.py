"""What vendors say they run: their bills of material, filed as they came, and what follows from them over time."""
