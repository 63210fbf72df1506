"""What the GPU backends share: memory, the plan of the loop, graphs bound to addresses."""
