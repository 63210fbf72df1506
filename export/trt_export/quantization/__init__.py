"""8-bit denoisers, calibrated on pictures."""
