"""What diffusers itself answers: the measure of every graph and picture."""
