"""Files of strangers: tensors and texts, read up to a bound and without running code."""
