"""What helps to forecast besides an item's own readings: temperature, absence, calendar."""
