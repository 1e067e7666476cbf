"""Singer: any tap's records to Miso through our delivery, and any connector with history as a tap."""
