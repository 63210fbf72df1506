"""What is added to a checkpoint as it is exported, from files: LoRAs and textual inversions."""
